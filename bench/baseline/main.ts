/**
 * A broker without features that shows what wire and disk allow: no errors, no recovery, no flow control.
 * Usage: node main.js <journal file>   prints "ready <port>" and runs until its standard input ends.
 */
import net, { type AddressInfo } from "node:net";
import { BaselineBroker } from "./broker.ts";
import { BaselineConnection } from "./connection.ts";
import { BaselineJournal } from "./journal.ts";

const journalFile = process.argv[2];
const broker = new BaselineBroker(journalFile === undefined ? undefined : new BaselineJournal(journalFile));
const server = net.createServer((socket) => new BaselineConnection(socket, broker));
server.listen(0, "127.0.0.1", () => console.log(`ready ${(server.address() as AddressInfo).port}`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
