import type { Pending, Target } from './query.js';

/** Waiting queries that may share a wave: of one target, agreeing on every symbol but rows; in order of arrival. */
export class PoolGroup {
  readonly target: Target;
  readonly #queries: Pending[] = [];
  #first = 0;
  #rows = 0;

  constructor(target: Target) {
    this.target = target;
  }

  get queries(): number {
    return this.#queries.length - this.#first;
  }

  get rows(): number {
    return this.#rows;
  }

  get oldest(): Pending {
    return this.#queries[this.#first]!;
  }

  /** The earliest deadline of those that wait. */
  get deadlineAt(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = this.#first; i < this.#queries.length; i++)
      earliest = Math.min(earliest, this.#queries[i]!.deadlineAt);
    return earliest;
  }

  add(query: Pending): void {
    this.#queries.push(query);
    this.#rows += query.rows;
  }

  /** Takes queries from the front: one at least, then as many as fit both limits. */
  take(maxRows: number, maxQueries: number): Pending[] {
    const taken = [this.#shift()];
    if (!this.target.plan.concatenable) return taken;
    const { rowsPerWave } = taken[0]!;
    const most = Math.min(maxRows, rowsPerWave);
    // What queries share has room for as many of them as a wave has rows; queries without rows could be more.
    const mostQueries = this.target.plan.queries === undefined ? maxQueries : Math.min(maxQueries, rowsPerWave);
    let { rows } = taken[0]!;
    while (this.queries > 0 && taken.length < mostQueries && rows + this.oldest.rows <= most) {
      rows += this.oldest.rows;
      taken.push(this.#shift());
    }
    return taken;
  }

  /** Takes out the queries whose deadline has passed. */
  takeExpired(now: number): Pending[] {
    const waiting = this.#queries.splice(0).slice(this.#first);
    this.#first = 0;
    this.#rows = 0;
    const expired: Pending[] = [];
    for (const query of waiting) {
      if (query.deadlineAt <= now) expired.push(query);
      else this.add(query);
    }
    return expired;
  }

  #shift(): Pending {
    const query = this.#queries[this.#first++]!;
    this.#rows -= query.rows;
    if (this.#first > 32 && this.#first * 2 > this.#queries.length) {
      this.#queries.splice(0, this.#first);
      this.#first = 0;
    }
    return query;
  }
}

/** All queries that wait, of all models, whatever their rows. */
export class Pool {
  readonly #groups = new Map<Target, Map<string, PoolGroup>>();
  #queries = 0;
  #rows = 0;
  #deadlines = 0;

  get queries(): number {
    return this.#queries;
  }

  get rows(): number {
    return this.#rows;
  }

  *groups(): Iterable<PoolGroup> {
    for (const groups of this.#groups.values()) yield* groups.values();
  }

  /** The group whose front came first. */
  oldestGroup(): PoolGroup | undefined {
    let oldest: PoolGroup | undefined;
    for (const group of this.groups()) if (!oldest || group.oldest.arrivedAt < oldest.oldest.arrivedAt) oldest = group;
    return oldest;
  }

  add(query: Pending): void {
    const { target, bindings } = query;
    const { otherSymbols } = target.plan;
    const key = otherSymbols.length === 0 ? '' : otherSymbols.map((s) => bindings.get(s)).join(' ');
    let groups = this.#groups.get(target);
    if (!groups) this.#groups.set(target, (groups = new Map<string, PoolGroup>()));
    let group = groups.get(key);
    if (!group) groups.set(key, (group = new PoolGroup(target)));
    group.add(query);
    this.#queries++;
    this.#rows += query.rows;
    if (Number.isFinite(query.deadlineAt)) this.#deadlines++;
  }

  take(group: PoolGroup, maxRows: number, maxQueries: number): Pending[] {
    return this.#took(group.take(maxRows, maxQueries));
  }

  takeExpired(now: number): Pending[] {
    if (this.#deadlines === 0) return [];
    return this.#took([...this.groups()].flatMap((group) => group.takeExpired(now)));
  }

  #took(queries: Pending[]): Pending[] {
    for (const { rows, deadlineAt } of queries) {
      this.#queries--;
      this.#rows -= rows;
      if (Number.isFinite(deadlineAt)) this.#deadlines--;
    }
    for (const [target, groups] of this.#groups) {
      for (const [key, group] of groups) if (group.queries === 0) groups.delete(key);
      if (groups.size === 0) this.#groups.delete(target);
    }
    return queries;
  }
}
