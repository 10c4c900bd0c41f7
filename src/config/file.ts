import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import { keyName } from "./names.ts";
import { type Problem, throwIfAny } from "./problem.ts";

/** A parsed millrace.yaml that knows where each key stands. */
export class ConfigFile {
  readonly tree: unknown;
  private readonly lines = new LineCounter();
  private readonly document: Document.Parsed;

  constructor(
    readonly path: string,
    text: string,
  ) {
    this.document = parseDocument(text, { lineCounter: this.lines, prettyErrors: false });
    throwIfAny(
      this.document.errors.map(
        (error): Problem => ({
          code: "CONFIG_UNREADABLE",
          what: `not valid YAML: ${error.message}`,
          where: this.place(error.pos[0]),
          hint: "Correct the line; a list item begins with '- ', a key ends with ': '.",
        }),
      ),
    );
    this.tree = this.document.toJS() ?? {};
  }

  /** Where a key's value stands; the nearest thing around it if it is not there itself. Paths are those of the code (`segmentBytes`). */
  whereIs(path: readonly PropertyKey[]): string {
    for (let length = path.length; length > 0; length--) {
      const node = this.document.getIn(inFile(path.slice(0, length)), true);
      if (isNode(node) && node.range) return this.place(node.range[0]);
    }
    return this.place(0);
  }

  /** Where the key itself stands, not its value. */
  whereIsKey(path: readonly PropertyKey[]): string {
    const around = path.length === 1 ? this.document.contents : this.document.getIn(inFile(path.slice(0, -1)), true);
    const key = path.at(-1);
    const pair = isMap(around)
      ? around.items.find((item) => (isScalar(item.key) ? item.key.value : item.key)?.toString() === String(key))
      : undefined;
    return isNode(pair?.key) && pair.key.range ? this.place(pair.key.range[0]) : this.whereIs(path);
  }

  has(path: readonly PropertyKey[]): boolean {
    return path.length > 0 && this.document.hasIn(inFile(path));
  }

  private place(offset: number): string {
    const { line, col } = this.lines.linePos(offset);
    return `${this.path}:${Math.max(1, line)}:${Math.max(1, col)}`;
  }
}

const inFile = (path: readonly PropertyKey[]): PropertyKey[] => path.map((key) => (typeof key === "string" ? keyName(key) : key));
