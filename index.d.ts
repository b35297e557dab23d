import { EventEmitter } from 'node:events'
import { Duplex, Readable } from 'node:stream'

/** 32 bytes, 64 hex characters or 52 z-base-32 characters. */
export type Key = Uint8Array | string

/** Names an encoding, or is one: `{ encode, decode }`, or a codec of compact-encoding. */
export type EncodingOption<T> = EncodingName | Encoding<T> | CompactEncoding<T>
export type EncodingName = 'binary' | 'buffer' | 'utf-8' | 'utf8' | 'ascii' | 'json'
export interface Encoding<T> {
  encode(value: T): Uint8Array
  decode(bytes: Buffer): T
}
export interface CompactEncoding<T> {
  preencode(state: object, value: T): void
  encode(state: object, value: T): void
  decode(state: object): T
}

export type ErrorCode =
  | 'ERR_CLOSED'
  | 'ERR_NOT_READY'
  | 'ERR_MODE'
  | 'ERR_OPTIONS'
  | 'ERR_NOT_WRITABLE'
  | 'ERR_NOT_PERMITTED'
  | 'ERR_INVALID_KEY'
  | 'ERR_INVALID_VALUE'
  | 'ERR_KEY_TOO_LARGE'
  | 'ERR_VALUE_TOO_LARGE'
  | 'ERR_BATCH_TOO_LARGE'
  | 'ERR_ENCRYPTION_KEY'
  | 'ERR_STORE_OPEN'
  | 'ERR_STORE_LOCKED'
  | 'ERR_READ_ONLY'
  | 'ERR_CORRUPT'
  | 'ERR_FORMAT_VERSION'
  | 'ERR_DISK_FULL'
  | 'ERR_VERSION_GONE'
  | 'ERR_FORKED'
  | 'ERR_RESTORED'
  | 'ERR_RELAY'
  | 'ERR_APPLY'
  | 'ERR_MERGE'
  | 'ERR_AUTH'
  | 'ERR_PROTOCOL'
  | 'ERR_VERSION_MISMATCH'
  | 'ERR_CLIENT_MISMATCH'
  | 'ERR_TIMEOUT'
  | 'ERR_ABORTED'
  | 'ERR_UNSUPPORTED_PLATFORM'

/** The one class of error this package throws and rejects with. Codes are stable, messages are not. */
export class MultiHyperbeeError extends Error {
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown })
  readonly code: ErrorCode
  /** With `ERR_VERSION_MISMATCH`: the protocol either side speaks. */
  readonly usVersion?: string
  readonly themVersion?: string
  /** With `ERR_CLIENT_MISMATCH`: what either side calls itself. */
  readonly usClient?: string
  readonly themClient?: string
}

/** What a read adds to an object. Putting the object back is compared with the state it was read at. */
export interface Read {
  /** The key; in hex if keys are binary. */
  readonly _objectId: string
  /** The effective timestamp, and what exactly was folded. Sorts as text in merge order. */
  readonly _timestamp: string
  /** The timestamp of the last diff before. */
  readonly _prevTimestamp?: string
}

/** A value as it is read: objects carry {@link Read}. */
export type Stored<V> = V extends Uint8Array | string | number | boolean ? V : V & Read

export interface Entry<K, V> {
  /** The version that this write of the view made. */
  seq: number
  key: K
  value: Stored<V>
}

export interface HistoryEntry<K, V> {
  type: 'put' | 'del'
  seq: number
  key: K
  /** null in a deletion */
  value: Stored<V> | null
}

export interface Encodings {
  keyEncoding?: EncodingOption<any>
  valueEncoding?: EncodingOption<any>
}

export interface Range<K> {
  gt?: K
  gte?: K
  lt?: K
  lte?: K
  reverse?: boolean
  /** -1: all */
  limit?: number
}

export interface ReadStreamOptions extends Encodings {
  reverse?: boolean
  limit?: number
  signal?: AbortSignal
}

export interface HistoryOptions extends Encodings {
  /** Goes on with what happens. Not together with `reverse`. */
  live?: boolean
  reverse?: boolean
  limit?: number
  /** Bounds are seqs; negative ones count from the end, -1 being the newest. */
  gt?: number
  gte?: number
  lt?: number
  lte?: number
  signal?: AbortSignal
}

/** Ends a wait. An accepted write cannot be cancelled. */
export interface WaitOptions {
  /** milliseconds */
  timeout?: number
  signal?: AbortSignal
}

/** Names an entry: the first `length` entries of that feed end with it. */
export interface Receipt {
  key: Buffer
  length: number
}

export interface WriteOptions<K, V> extends Encodings {
  /** Asked only if the key exists; a falsy answer leaves it as it is. Asked again if a peer's write came between. */
  cas?: (prev: Entry<K, V>, next: { seq: number; key: K; value: V | null }) => boolean | Promise<boolean>
  receipt?: boolean
}

/** A stream of entries: a Node stream in object mode, async-iterable. */
export interface EntryStream<T> extends Readable {
  [Symbol.asyncIterator](): AsyncIterableIterator<T>
}

/** The read half of the key-value API. */
export interface View<K = string, V = any> {
  readonly version: number
  readonly writable: boolean
  readonly keyEncoding: Encoding<K> & { name: string }
  readonly valueEncoding: Encoding<V> & { name: string }
  ready(): Promise<void>
  close(): Promise<void>
  get(key: K, options?: Encodings): Promise<Entry<K, V> | null>
  /** Throws `ERR_NOT_READY` before {@link ready}. */
  getSync(key: K, options?: Encodings): Entry<K, V> | null
  getMany(keys: K[], options?: Encodings): Promise<(Entry<K, V> | null)[]>
  getBySeq(seq: number, options?: Encodings): Promise<{ key: K; value: Stored<V> | null } | null>
  peek(range?: Range<K>, options?: ReadStreamOptions): Promise<Entry<K, V> | null>
  /** One consistent version, in key order. `gt` wins over `gte`, `lt` over `lte`. */
  createReadStream(range?: Range<K>, options?: ReadStreamOptions): EntryStream<Entry<K, V>>
  createHistoryStream(options?: HistoryOptions): EntryStream<HistoryEntry<K, V>>
  /** This replica as it was when its version was that. One that is not there yet is `ERR_VERSION_GONE`. */
  checkout(version: number | Moment, options?: Encodings): View<K, V>
  snapshot(options?: Encodings): View<K, V>
  sub<SK = K, SV = V>(prefix: string | Uint8Array, options?: SubOptions): View<SK, SV>
  /** What differs between this (left) and `other` (right), sorted by key. A key is the same if its `seq` is. */
  createDiffStream(
    other: number | View<any, any>,
    range?: Range<K>,
    options?: ReadStreamOptions
  ): EntryStream<DiffPair<K, V>>
  /** Yields `[current, previous]` when something in the range has changed; changes coalesce. Not on snapshots. */
  watch<T = View<K, V>>(range?: Range<K>, options?: WatchOptions<K, V, T>): Watcher<T>
  /** One key's entry, kept current. Not on snapshots. */
  getAndWatch(key: K, options?: Encodings & { signal?: AbortSignal }): Promise<EntryWatcher<K, V>>
  getHeader(): Promise<Header>
}

/** The last version that this replica had committed by then, to the millisecond. */
export interface Moment {
  /** a Date, milliseconds since 1970, or ISO 8601 (a `_timestamp` will do) */
  timestamp: Date | number | string
}

/** A key that differs between two versions; null: absent there. */
export interface DiffPair<K, V> {
  left: Entry<K, V> | null
  right: Entry<K, V> | null
}

export interface WatchOptions<K, V, T> extends Encodings {
  /** What is yielded of each snapshot. */
  map?: (snapshot: View<K, V>) => T
  /** What differs, instead of `createDiffStream`; one item is enough. */
  differ?: (current: View<K, V>, previous: View<K, V>, range: Range<K>) => AsyncIterable<unknown>
  /** What is there already counts as a change. */
  eager?: boolean
  /** Called at each change in the range, besides the event `update`. */
  onchange?: () => unknown
  signal?: AbortSignal
}

/** The snapshot before the last is closed when the next pair is asked for. Ends with `close` or the database. */
export interface Watcher<T> extends EventEmitter<{ update: []; close: [] }>, AsyncIterableIterator<[T, T]> {
  readonly closed: boolean
  ready(): Promise<void>
  close(): Promise<void>
  destroy(): void
}

export interface EntryWatcher<K, V> extends EventEmitter<{ update: []; close: [] }> {
  /** The entry now, or as it was when this was closed. */
  readonly node: Entry<K, V> | null
  readonly closed: boolean
  close(): Promise<void>
  destroy(): void
}

export interface Header {
  protocol: 'multi-hyperbee'
  version: 1
  key: Buffer
  metadata: { keyEncoding: string; valueEncoding: string }
}

export interface SubOptions extends Encodings {
  /** Between the prefix and the key; a zero byte by default. */
  sep?: string | Uint8Array
}

/** The key-value API, reads and writes. */
export interface Bee<K = string, V = any> extends View<K, V> {
  /** Whether it wrote. Resolves when it is on disk. */
  put(key: K, value: V, options?: WriteOptions<K, V> & { receipt?: false }): Promise<boolean>
  put(key: K, value: V, options: WriteOptions<K, V> & { receipt: true }): Promise<Receipt | null>
  /** Replicated: a delete, not a local removal. */
  del(key: K, options?: WriteOptions<K, V> & { receipt?: false }): Promise<boolean>
  del(key: K, options: WriteOptions<K, V> & { receipt: true }): Promise<Receipt | null>
  batch(options?: Encodings): Batch<K, V>
  /** The concurrent diffs behind the current value: where they say different things, and no later diff that had seen
   * them has settled it. */
  conflicts(key: K, options?: Encodings): Promise<Conflict[]>
  sub<SK = K, SV = V>(prefix: string | Uint8Array, options?: SubOptions): Bee<SK, SV>
}

/** Names an entry: block `seq` of the feed `writer`. */
export interface Dot {
  writer: Buffer
  seq: number
}

/** One path on which the current value was chosen among diffs that had not seen each other. */
export interface Conflict {
  /**
   * Where in the object: names of properties; for an array's element its index now, or, if it is not shown any more, its
   * id (a string). Empty: the whole value, in another encoding than `'json'`.
   */
  path: (string | number)[]
  /** The diff whose value is shown. */
  winner: Dot
  /** The others, the latest first. */
  losers: Dot[]
  /** What the winner, then each loser, says is at the path; `undefined`: nothing (removed or deleted). */
  values: any[]
}

/** Writes that take effect together, here and on peers. Takes the write lock from its first write to its end. */
export interface Batch<K = string, V = any> {
  put(key: K, value: V, options?: WriteOptions<K, V>): Promise<boolean>
  del(key: K, options?: WriteOptions<K, V>): Promise<boolean>
  get(key: K, options?: Encodings): Promise<Entry<K, V> | null>
  peek(range?: Range<K>, options?: ReadStreamOptions): Promise<Entry<K, V> | null>
  createReadStream(range?: Range<K>, options?: ReadStreamOptions): EntryStream<Entry<K, V>>
  /** Commits, and ends the batch. Whether anything changed. */
  flush(): Promise<boolean>
  /** Drops what was not flushed. */
  close(): Promise<void>
}

export interface KeyPair {
  publicKey?: Uint8Array
  secretKey: Uint8Array
}

export interface Options<K = string, V = any> {
  /** The shared database to join: the creator's `db.key`. None: this replica creates one. */
  key?: Key | null
  /** Which database of the store: `'db'` without a key, else the key. */
  name?: string
  /** `'utf-8'` by default. */
  keyEncoding?: EncodingOption<K>
  /** `'json'` by default: merged objects. Any other: last-writer-wins registers. */
  valueEncoding?: EncodingOption<V>
  /** Of the local writer; generated and kept by default. Names one feed of one database. */
  keyPair?: KeyPair | Promise<KeyPair> | null
  /** 32 random bytes, the same at every replica: seals what is written, on disk here and at everyone it passes. By
   * default the store's. Wrong, missing or superfluous: `ERR_ENCRYPTION_KEY`, or, where only the creator's feed can
   * tell, the event `error` when that arrives. */
  encryptionKey?: Uint8Array | Promise<Uint8Array> | null
  /** `true`: refused without an `encryptionKey`. `false`: not encrypted, whatever the store says. */
  encrypted?: boolean | null
  /** `'granted'` (default): who is granted writes. `'open'`: every feed that is known here;
   * feeds that peers announce are not learned by themselves yet. */
  writers?: 'granted' | 'open'
  /** How far ahead of the wall clock (ms) a timestamp may be before it raises `drift` and is not followed: 60,000. */
  maxDrift?: number
  /** How much of the past is kept. */
  history?: 'all'
}

export interface ReplicateOptions {
  /** Goes on with what is written later; true by default. False: ends when both sides have what the other had. */
  live?: boolean
  download?: boolean
  upload?: boolean
  /** How long (ms) the peer may be silent. */
  timeout?: number
  /** Handed to the other side. */
  userData?: Uint8Array | null
}

/** One connection: events `open`, `remote-feeds`, `synced` besides a Duplex's own. Its errors never reach the process. */
export interface ReplicationStream extends Duplex {
  /** What the other side passed. */
  readonly userData: Buffer | null
}

export interface FeedProgress {
  key: Buffer
  /** blocks that are here */
  have: number
  /** blocks that are in the view */
  placed: number
  /** blocks that somebody announced */
  want: number
}

export interface Status {
  state: 'opening' | 'open' | 'closing' | 'closed'
  version: number
  writable: boolean
  isIndexer: boolean
  /** Everything that any peer has announced is here and applied. */
  flushed: boolean
  feeds: FeedProgress[]
  /** connections of this store */
  peers: number
  /** the last error that nobody awaited */
  error: MultiHyperbeeError | null
}

export interface Writer {
  key: Buffer
  /** entries in the order here */
  length: number
  /** how many of them count */
  counted: number
  isIndexer: boolean
  removedBy: Buffer | null
}

export interface RequestAccessOptions extends WaitOptions {
  /** What `createInvite` of a device that may grant gave: it then accepts by itself. */
  invite?: string
}

export interface InviteOptions {
  /** When it ends, by the clock of the device that made it: a Date, or milliseconds since 1970. Never, by default. */
  expires?: Date | number
  /** How many devices it admits: 1 by default; `Infinity`: any number. */
  uses?: number
  /** Whether it makes indexers, who may grant, revoke and invite in turn. */
  isIndexer?: boolean
}

/** What another device asks of an indexer. It has proved to hold the secret key of `key`. */
export interface AccessRequest {
  /** Its feed: what `accept` grants. */
  readonly key: Buffer
  /** What it passed to `requestAccess`, as a stranger says it. */
  readonly userData: any
  /** The same as `addWriter(key, options)`. */
  accept(options?: { isIndexer?: boolean }): Promise<boolean>
  /** Tells it so. Resolves to whether it was still asking. */
  reject(): Promise<boolean>
}

/** A diff as it is published. */
export interface Diff {
  _timestamp: string
  obj: { _objectId: string; _prevTimestamp?: string }
  /** What changed of an object: `add`, `remove`, `insert`, and `list` for what is nested. */
  list?: { add?: object; remove?: object; insert?: { add?: object; remove?: object }; list?: object }
  del?: true
  /** The whole value of a register. */
  value?: any
}

export interface DiffEntry {
  /** The index in its writer's feed. */
  seq: number
  /** `<object id>/<timestamp>` */
  key: string
  value: Diff
}

export interface DiffStreamOptions {
  limit?: number
  signal?: AbortSignal
}

/** A feed whose diffs count here, as a read-only bee over them. Sorted by object, then timestamp. */
export interface Peer {
  readonly key: Buffer
  readonly id: string
  readonly feed: Feed
  /** How much of the feed is here. */
  readonly length: number
  /** How much of it is merged. */
  readonly version: number
  readonly writable: false
  ready(): Promise<void>
  status(): FeedProgress
  get(key: string): Promise<DiffEntry | null>
  getMany(keys: string[]): Promise<(DiffEntry | null)[]>
  getBySeq(seq: number): Promise<{ key: string; value: Diff } | null>
  peek(range?: Range<string>, options?: DiffStreamOptions & { reverse?: boolean }): Promise<DiffEntry | null>
  createReadStream(
    range?: Range<string>,
    options?: DiffStreamOptions & { reverse?: boolean }
  ): EntryStream<DiffEntry>
  /** In the order they were written: all that are placed, those that do not count included. */
  createHistoryStream(
    options?: Omit<HistoryOptions, 'live' | keyof Encodings>
  ): EntryStream<DiffEntry & { type: 'put' }>
  close(): Promise<void>
}

export interface MultiHyperbeeEvents {
  /** View writes `from` (exclusive) to `to`. */
  update: [from: number, to: number]
  writable: []
  unwritable: []
  writer: [{ key: Buffer; added: boolean }]
  /** On an indexer: a device asks to write. Once for each time it asks. */
  'access-request': [AccessRequest]
  'peer-add': [Peer]
  'peer-remove': [key: Buffer]
  'peer-error': [error: Error, stream: ReplicationStream]
  synced: [stream: ReplicationStream]
  /** A timestamp was that many milliseconds ahead of the wall clock. */
  drift: [{ writer: Buffer; ahead: number }]
  fork: [{ feed: Buffer; length: number }]
  'upgrade-needed': [{ feed: Buffer }]
  /** Emitted only if somebody listens; else it is in `status()`, and a warning once. */
  error: [Error]
  close: []
}

/**
 * A multi-writer, offline-first key-value database. Every replica writes to its own feed, replicas exchange feeds, and
 * each computes the same view from them.
 */
export class MultiHyperbee<K = string, V = any>
  extends EventEmitter<MultiHyperbeeEvents>
  implements Bee<K, V>
{
  /**
   * @param storage the path of a directory, `':memory:'`, or a {@link Store}
   */
  constructor(storage: string | Store, options?: Options<K, V>)
  constructor(storage: string | Store, key: Key | null, options?: Options<K, V>)

  /**
   * Opens a database and asks, with an invite, to be let in, over the connections it is then given. What becomes of it
   * is told by {@link waitForWritable}. Reopened later, it needs no invite; one that has done its work does no harm.
   */
  static join<K = string, V = any>(
    storage: string | Store,
    invite: string,
    options?: Omit<Options<K, V>, 'key'> & { userData?: any }
  ): MultiHyperbee<K, V>
  static isMultiHyperbee(x: unknown): x is MultiHyperbee
  /** A key pair for what `name` says, out of one of a device: each database has one of its own. */
  static deriveKeyPair(
    master: { secretKey: Uint8Array } | Uint8Array,
    name: string
  ): { publicKey: Buffer; secretKey: Buffer }
  static isAutobee(x: unknown): x is MultiHyperbee
  static readonly MultiHyperbee: typeof MultiHyperbee
  static readonly Autobee: typeof MultiHyperbee
  static readonly Store: typeof Store
  static readonly Feed: typeof Feed
  static readonly MultiHyperbeeError: typeof MultiHyperbeeError

  /** What others pass to join. null before {@link ready}, as `discoveryKey`, `id`, `name` and `local`. */
  readonly key: Buffer | null
  /** What to announce and look up on a network: it does not tell the key. */
  readonly discoveryKey: Buffer | null
  /** `key` in hex. */
  readonly id: string | null
  readonly name: string | null
  /** The feed this replica writes. */
  readonly local: Feed | null
  readonly feed: Feed | null
  readonly view: this
  readonly bee: this
  readonly store: Store
  readonly writable: boolean
  readonly isIndexer: boolean
  readonly version: number
  readonly opened: boolean
  readonly closed: boolean
  readonly encrypted: boolean
  readonly keyEncoding: Encoding<K> & { name: string }
  readonly valueEncoding: Encoding<V> & { name: string }

  ready(): Promise<void>
  close(): Promise<void>
  get(key: K, options?: Encodings): Promise<Entry<K, V> | null>
  getSync(key: K, options?: Encodings): Entry<K, V> | null
  getMany(keys: K[], options?: Encodings): Promise<(Entry<K, V> | null)[]>
  getBySeq(seq: number, options?: Encodings): Promise<{ key: K; value: Stored<V> | null } | null>
  peek(range?: Range<K>, options?: ReadStreamOptions): Promise<Entry<K, V> | null>
  createReadStream(range?: Range<K>, options?: ReadStreamOptions): EntryStream<Entry<K, V>>
  createHistoryStream(options?: HistoryOptions): EntryStream<HistoryEntry<K, V>>
  checkout(version: number | Moment, options?: Encodings): View<K, V>
  snapshot(options?: Encodings): View<K, V>
  createDiffStream(
    other: number | View<any, any>,
    range?: Range<K>,
    options?: ReadStreamOptions
  ): EntryStream<DiffPair<K, V>>
  watch<T = View<K, V>>(range?: Range<K>, options?: WatchOptions<K, V, T>): Watcher<T>
  getAndWatch(key: K, options?: Encodings & { signal?: AbortSignal }): Promise<EntryWatcher<K, V>>
  getHeader(): Promise<Header>
  sub<SK = K, SV = V>(prefix: string | Uint8Array, options?: SubOptions): Bee<SK, SV>
  put(key: K, value: V, options?: WriteOptions<K, V> & { receipt?: false }): Promise<boolean>
  put(key: K, value: V, options: WriteOptions<K, V> & { receipt: true }): Promise<Receipt | null>
  del(key: K, options?: WriteOptions<K, V> & { receipt?: false }): Promise<boolean>
  del(key: K, options: WriteOptions<K, V> & { receipt: true }): Promise<Receipt | null>
  batch(options?: Encodings): Batch<K, V>
  /** The concurrent diffs behind the current value, where they differ and nobody has settled it. */
  conflicts(key: K, options?: Encodings): Promise<Conflict[]>

  /** Rejects with `ERR_MODE`: it is a call of apply mode. */
  append(value: unknown): Promise<never>
  /** Merges that feed into this replica, from its first entry on. Kept over a restart. */
  addPeer(feedKey: Key): Promise<Peer>
  /** Merges nothing more of it; what was merged stays. */
  removePeer(feedKey: Key): Promise<Peer | false>
  getPeers(): Promise<Peer[]>
  /** Grants, for everybody. Only an indexer may. */
  addWriter(key: Key, options?: { isIndexer?: boolean }): Promise<boolean>
  /** @param options `lost`: nothing longer exists of it than is here */
  removeWriter(key: Key, options?: { lost?: boolean }): Promise<boolean>
  writers(): Promise<Writer[]>
  /** The local diffs; `(await getDiff()).feed.key` is what others pass to `addPeer`. */
  getDiff(): Promise<Peer>
  /**
   * Every writer's diffs of an object, in the shared order, from the timestamp in `<object id>/<timestamp>` on. Only a
   * last segment of that form counts as one.
   */
  createUnionStream(key: string, options?: DiffStreamOptions): EntryStream<DiffEntry>
  /** Resolves once this replica may write. Rejects with `ERR_NOT_PERMITTED` if what it asked was refused. */
  waitForWritable(options?: WaitOptions): Promise<void>
  /**
   * Asks to be made a writer, over every connection of this database until an indexer answers. Resolves when one has
   * heard it (its user may still decide: {@link waitForWritable}) or when this replica may write; rejects with
   * `ERR_NOT_PERMITTED` if it was refused. A timeout or abort takes the request back. It is not kept over a restart.
   *
   * @param userData JSON of at most 4 KiB, for whoever decides
   */
  requestAccess(userData?: any, options?: RequestAccessOptions): Promise<void>
  /** A text that lets who has it in, without anybody being asked. Only an indexer may; only this device will accept it. */
  createInvite(options?: InviteOptions): Promise<string>
  /** One hash of the live content: equal on equal views, on every machine. */
  stateHash(): Promise<Buffer>
  /** Processes what is here. */
  update(): Promise<void>
  updated(): Promise<void>
  /** Waits until all that any connected peer has announced is here and applied. */
  flush(options?: WaitOptions): Promise<void>
  /** Waits until that entry is in the view. */
  applied(receipt: { key: Key; length: number }, options?: WaitOptions): Promise<void>
  /** How much of every feed is in the view. */
  heads(): Promise<Receipt[]>
  /** A stream to be piped both ways to any other byte stream. */
  replicate(isInitiator: boolean, options?: ReplicateOptions & { stream?: Duplex }): ReplicationStream
  /** Attaches by itself: to a plain stream with Noise, to a Hyperswarm connection as a Protomux channel. */
  replicate(stream: Duplex, options?: ReplicateOptions & { isInitiator?: boolean }): ReplicationStream
  status(): Status
  /** The status whenever it changed, at most ten times a second, until the database closes. */
  syncProgress(options?: WaitOptions): AsyncIterableIterator<Status>
}

export { MultiHyperbee as Autobee }
export default MultiHyperbee

/** A directory that holds feeds and databases. */
export class Store {
  /** @param options `readOnly`: nothing is ever written; neither databases nor feeds can be opened in it yet
   * (`ERR_READ_ONLY`). `encryptionKey`: of every database opened in it that does not say otherwise; feeds opened with
   * `get` are not encrypted by it. */
  constructor(
    location: string,
    options?: { readOnly?: boolean; encryptionKey?: Uint8Array | Promise<Uint8Array> | null }
  )
  readonly closed: boolean
  ready(): Promise<void>
  get(which: Key | { key: Key } | { name: string } | { keyPair: KeyPair | Promise<KeyPair> }): Feed
  /** This store, its names beginning with `name`. */
  namespace(name: string): Store
  /** The keys of what is open in it. */
  list(): Buffer[]
  replicate(isInitiator: boolean, options?: ReplicateOptions & { stream?: Duplex }): ReplicationStream
  replicate(stream: Duplex, options?: ReplicateOptions & { isInitiator?: boolean }): ReplicationStream
  /** Closes everything that was opened from it. */
  close(): Promise<void>
}

export interface FeedEvents {
  append: []
  close: []
}

/** One writer's signed, append-only log. */
export class Feed extends EventEmitter<FeedEvents> {
  private constructor()
  readonly key: Buffer | null
  readonly id: string | null
  readonly discoveryKey: Buffer | null
  readonly length: number
  readonly byteLength: number
  /** Blocks here from the first on. */
  readonly contiguousLength: number
  readonly writable: boolean
  readonly readable: boolean
  ready(): Promise<void>
  /** Resolves when it is on disk. */
  append(
    blocks: unknown | unknown[],
    options?: { valueEncoding?: EncodingOption<any> }
  ): Promise<{ length: number; byteLength: number }>
  /** Waits until the block is here, unless `wait` is false: then null if it is not. */
  get(seq: number, options?: WaitOptions & { wait?: true; valueEncoding?: EncodingOption<any> }): Promise<any>
  get(
    seq: number,
    options: WaitOptions & { wait: boolean; valueEncoding?: EncodingOption<any> }
  ): Promise<any>
  has(seq: number): Promise<boolean>
  createReadStream(options?: {
    start?: number
    end?: number
    live?: boolean
    reverse?: boolean
    valueEncoding?: EncodingOption<any>
    signal?: AbortSignal
  }): EntryStream<any>
  /** Waits until the blocks of a range are here; all that are known, by default. */
  download(range?: WaitOptions & { start?: number; end?: number }): Promise<void>
  /** The root hash of the first `length` blocks. */
  treeHash(length?: number): Promise<Buffer>
  close(): Promise<void>
}
