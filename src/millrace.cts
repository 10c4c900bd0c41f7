#!/usr/bin/env node
// The pool that all threads of the process share for files and compression gets its size with its first job: inside an ES module it is
// too late to ask for one. Compression in pipelines must not keep the log's writes and syncs waiting, as it does in Node's pool of 4.
process.env.UV_THREADPOOL_SIZE ??= "16";
void import("./main.ts");
