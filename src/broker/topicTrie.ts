/**
 * Patterns of topic exchanges: words between dots, `*` for one word, `#` for any number of them, also none. All patterns
 * that match a key are found in one walk over its words with the set of nodes that are alive, so that no pattern, however
 * many `#` it has, costs more than words times nodes.
 */
class Node<T> {
  readonly children = new Map<string, Node<T>>();
  readonly values = new Set<T>();
  /** The last step of a walk that reached this node: each node counts once a step. */
  step = 0;
  constructor(readonly isHash: boolean) {}
}

export class TopicTrie<T> {
  private readonly root = new Node<T>(false);
  private step = 0;

  add(pattern: string, value: T): void {
    let node = this.root;
    for (const word of words(pattern)) {
      let child = node.children.get(word);
      if (child === undefined) node.children.set(word, (child = new Node(word === "#")));
      node = child;
    }
    node.values.add(value);
  }

  remove(pattern: string, value: T): void {
    const path: Node<T>[] = [this.root];
    const names = words(pattern);
    for (const word of names) {
      const child = (path.at(-1) as Node<T>).children.get(word);
      if (child === undefined) return;
      path.push(child);
    }
    (path.at(-1) as Node<T>).values.delete(value);
    for (let depth = names.length; depth > 0; depth--) {
      const node = path[depth] as Node<T>;
      if (node.values.size > 0 || node.children.size > 0) return;
      (path[depth - 1] as Node<T>).children.delete(names[depth - 1] as string);
    }
  }

  /** Calls `found` for every value whose pattern matches, each once. */
  match(key: string, found: (value: T) => void): void {
    let alive: Node<T>[] = [];
    this.step++;
    this.reach(this.root, alive);
    for (const word of words(key)) {
      const next: Node<T>[] = [];
      this.step++;
      for (const node of alive) {
        if (node.isHash) this.reach(node, next);
        const child = word === "*" || word === "#" ? undefined : node.children.get(word); // a key's own `*` is no wildcard
        if (child !== undefined) this.reach(child, next);
        const star = node.children.get("*");
        if (star !== undefined) this.reach(star, next);
      }
      alive = next;
    }
    for (const node of alive) for (const value of node.values) found(value);
  }

  private reach(node: Node<T>, into: Node<T>[]): void {
    for (let at: Node<T> | undefined = node; at !== undefined && at.step !== this.step; at = at.children.get("#")) {
      at.step = this.step;
      into.push(at);
    }
  }
}

/** The empty key has no words; "a." has two. */
const words = (key: string): string[] => (key === "" ? [] : key.split("."));
