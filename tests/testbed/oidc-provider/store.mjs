// The provider's storage: everything in memory, and clients with their
// registration access tokens in a file as well when STORE_FILE names one.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

// What has to outlive a restart. Tokens do not: they are opaque, so a restart
// ends them, as a server does that keeps them in a cache.
const DURABLE = new Set(['Client', 'RegistrationAccessToken']);

// A token that belongs to a grant goes when the grant is revoked.
const IN_GRANT = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);

export class Store {
  #entries = new Map(); // "Model:id" -> { model, id, payload, expires }
  #file;

  constructor(file) {
    this.#file = file;
    if (file) this.#load();
  }

  // The factory that the provider calls once for each of its models.
  adapter() {
    return (model) => new Adapter(this, model);
  }

  get(model, id) {
    const entry = this.#entries.get(`${model}:${id}`);
    if (entry?.expires <= Date.now()) {
      this.#entries.delete(`${model}:${id}`);
      return undefined;
    }
    return entry?.payload;
  }

  set(model, id, payload, seconds) {
    const expires = seconds ? Date.now() + seconds * 1000 : undefined;
    this.#entries.set(`${model}:${id}`, { model, id, payload, expires });
    this.#save(model);
  }

  delete(model, id) {
    if (this.#entries.delete(`${model}:${id}`)) this.#save(model);
  }

  // Walks everything: fine for a test server, whose store is small.
  find(model, matches) {
    for (const entry of this.#entries.values()) {
      if (entry.model === model && matches(entry.payload)) return this.get(model, entry.id);
    }
    return undefined;
  }

  revokeGrant(grantId) {
    for (const { model, id, payload } of [...this.#entries.values()]) {
      if (IN_GRANT.has(model) && payload.grantId === grantId) this.delete(model, id);
    }
  }

  // Every live client, without anything that authenticates it.
  clients() {
    return [...this.#entries.values()]
      .filter(({ model }) => model === 'Client')
      .map(({ payload: { client_secret, ...shown } }) => shown);
  }

  #load() {
    let text;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (error.code === 'ENOENT') return;
      throw error;
    }
    for (const entry of JSON.parse(text)) this.#entries.set(`${entry.model}:${entry.id}`, entry);
  }

  // Written before the answer goes out, and as a whole: a server killed at any
  // moment comes back with what it has told its callers.
  #save(model) {
    if (!this.#file || !DURABLE.has(model)) return;
    const kept = [...this.#entries.values()].filter((entry) => DURABLE.has(entry.model));
    writeFileSync(`${this.#file}.new`, JSON.stringify(kept), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}

class Adapter {
  #store;
  #model;

  constructor(store, model) {
    this.#store = store;
    this.#model = model;
  }

  async upsert(id, payload, seconds) {
    this.#store.set(this.#model, id, payload, seconds);
  }

  async find(id) {
    return this.#store.get(this.#model, id);
  }

  async findByUid(uid) {
    return this.#store.find(this.#model, (payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#store.find(this.#model, (payload) => payload.userCode === userCode);
  }

  async consume(id) {
    const payload = this.#store.get(this.#model, id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.#store.delete(this.#model, id);
  }

  async revokeByGrantId(grantId) {
    this.#store.revokeGrant(grantId);
  }
}
