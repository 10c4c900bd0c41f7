import type { ByFile } from "./places.ts";

export const ofStores: ByFile = {
  "src/log/directoryLock.ts": {
    never: {
      "the table of processes is simulated": ["const processes ="],
      "a simulated process has an identity": ["const identity ="],
      "many that start at once: test/log/directoryLock.test.ts": [
        "if (!(await make(",
        "if (standing?.pid",
        "await remove(options, own);",
        "throw locked(options.directory, undefined)",
        'if (isCode(error, "EEXIST")) return false;',
        "const who =",
      ],
      "what the holder tells others is no part of this": ["async setInfo("],
    },
    rare: {
      "a lock that is damaged: test/log/directoryLock.test.ts": ["return namesProcess(content)", "if (typeof content"],
      "a lock that goes while it is read: test/log/directoryLock.test.ts": ['if (isCode(error, "ENOENT")) return undefined;'],
    },
  },
  "src/log/keyedStore.ts": {
    never: {
      "the stores here are told when to be written anew": ["if (dead < (this.options"],
    },
    rare: {
      "a start on which just these writes fail: test/log/keyedStoreFaults.test.ts": ["} catch (error) {", "await store.close()"],
      "no test is known to have it for sure": ["await before.close"],
    },
  },
  "src/log/keyedStoreFormat.ts": {
    never: {
      "only somebody else could make the file so short": ["const end = bytes.length < 9"],
      "another store under this name: test/log/keyedStore.test.ts": ["if (name !== identity.name)"],
      "a newer format has a test of its own": [
        "if (bytes.readUInt16LE(6) > identity.formatVersion)",
        "if (bytes.readUInt16LE(4) > containerVersion)",
      ],
    },
    rare: {
      "test/log/keyedStore.test.ts: a newer file, and another store's file, are refused": [
        'throw new KeyedStoreDamage(identity.path, 0, "its',
        "function tooNew(identity",
      ],
      "no test is known to have it for sure": ['throw new KeyedStoreDamage(identity.path, 0, "it does'],
    },
  },
  "src/log/keyedStoreTwins.ts": {
    never: {
      "a newer format has a test of its own": ["if (!(error instanceof KeyedStoreDamage))"],
    },
    rare: {
      "a file that somebody else took away, or the first start of all": ["else if (bytes === undefined) logger"],
    },
  },
};
