import { MemoryLog } from "../../src/stream/testing/memoryLog.ts";
import { partitionedLogConformance } from "../log/conformance.ts";

partitionedLogConformance("the log in memory of the test kit", async () => new MemoryLog());
