// Counts requests by method and kind of path, for tests that ask what an
// operation costs the server.

// Paths whose last part is an id or otherwise one of many.
const ROUTES = [
  [/\/reg\/[^/]+$/, '/reg/:id'],
  [/\/auth\/[^/]+$/, '/auth/:uid'],
  [/\/interaction\/.+$/, '/interaction/:uid'],
];

export class RequestCounters {
  #counts = {};

  count(method, path) {
    let name = path;
    for (const [pattern, route] of ROUTES) name = name.replace(pattern, route);
    const key = `${method} ${name}`;
    this.#counts[key] = (this.#counts[key] ?? 0) + 1;
  }

  counted() {
    return this.#counts;
  }

  reset() {
    this.#counts = {};
  }
}
