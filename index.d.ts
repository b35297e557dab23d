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
  /** With `ERR_MERGE`: the key, and the diff that `merge` failed at. */
  readonly key?: any
  readonly diff?: Diff
  /** With `ERR_APPLY`: at which batch `apply` failed, by its writer and the length of that feed after it. */
  readonly writer?: Buffer
  readonly length?: number
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
  /** `'granted'` (default): who is granted writes. `'open'`: every feed does, also
   * such as are announced by peers that know the key. */
  writers?: 'granted' | 'open'
  /** How far ahead of the wall clock (ms) a timestamp may be before it raises `drift` and is not followed: 60,000. */
  maxDrift?: number
  /** How much of the past stays readable: all by default. Of several handles on a database the one that keeps most
   * decides; who says nothing keeps what others do. */
  history?: Kept
  /** Merges instead of the built-in merge, from the next open on also if this is left out; `false`: the built-in again. */
  mergeHandler?: MergeHandlerOption<K, V> | false | null
  /** For values of another encoding than `'json'`: chooses among writes that had not seen each other. */
  resolver?: Resolver<K, V> | false | null
  /**
   * Makes it a database in apply mode: called with the values of one batch of one writer, in the order that all replicas
   * share, again after that order has changed. It must do the same on every replica: read `view` and `nodes`, no clock,
   * no chance, nothing outside. If it throws, applying pauses there (`ERR_APPLY`) until {@link MultiHyperbee.update}.
   */
  apply?(nodes: ApplyNode<V>[], view: WorkingView<K, V>, host: Host): void | Promise<void>
  /** Makes `db.view`, and the `view` that `apply` gets, of the bee. Called for each, at once. */
  open?(bee: View<K, V> | WorkingView<K, V>, db: MultiHyperbee<K, V>): any
  /** Called for each of what `open` made, at the end. */
  close?(view: any): void | Promise<void>
  /** Called when the view has changed; what changes while it is busy is one change. */
  update?(view: any, changes: ReadonlyMap<'view', ViewChange>): void | Promise<void>
  /** Set by the creator: what unknown writers append as optimistic is applied, if `apply` acknowledges its writer. */
  optimistic?: boolean
  /** How soon (ms) an idle indexer acknowledges what it has seen: 10,000 by default, 0 never. */
  ackInterval?: number
  /** Stores and forwards the feeds of `key` without reading them: whatever reads or writes is `ERR_RELAY`. */
  relay?: boolean | RelayOptions
}

/** One value, as `apply` gets it. */
export interface ApplyNode<V = any> {
  /** Its writer. */
  readonly key: Buffer
  /** Decoded with `valueEncoding`; if it is not of that encoding, reading it throws. */
  readonly value: V
  /** Of its writer's feed, after it. */
  readonly length: number
  /** Milliseconds since 1970, by its writer's clock. */
  readonly timestamp: number
  /** What its writer had seen of others. */
  readonly links: readonly Receipt[]
  /** How many entries of its batch stand before and after it. */
  readonly batch: { start: number; end: number }
  /** Its writer is not granted: the batch counts only if `apply` acknowledges it. */
  readonly optimistic: boolean
}

/** What `apply` may ask of the database. It is alike on every replica, and no good once `apply` has returned. */
export interface Host {
  readonly key: Buffer
  readonly id: string
  readonly discoveryKey: Buffer
  /** The same as `id`: names differ between replicas. */
  readonly name: string
  /** Nothing was applied before this batch. */
  readonly genesis: boolean
  /** How many batches were applied before this one. */
  readonly clock: number
  /** Takes effect at once, awaited or not. A key that is none is thrown. `isIndexer` is true by default. */
  addWriter(key: Key, options?: { isIndexer?: boolean }): Promise<void>
  /** @param options `lost`: nothing longer exists of it than is in this batch's past; it is never granted again */
  removeWriter(key: Key, options?: { lost?: boolean }): Promise<void>
  /** Vouches for the writer of an optimistic batch, without granting. */
  ackWriter(key: Key): Promise<void>
  /** Ends this call of `apply` and pauses before its batch, until {@link MultiHyperbee.update}. */
  interrupt(reason?: unknown): never
  createAnchor(): Promise<Receipt>
}

export interface AppliedEntry<K, V> {
  key: K
  value: V
}

/** The view inside `apply`. What is about this replica's own past is `ERR_MODE`: it would differ elsewhere. */
export interface WorkingView<K = Uint8Array | string, V = any> {
  readonly writable: boolean
  readonly keyEncoding: Encoding<K> & { name: string }
  readonly valueEncoding: Encoding<V> & { name: string }
  ready(): Promise<void>
  close(): Promise<void>
  get(key: K, options?: Encodings): Promise<AppliedEntry<K, V> | null>
  getSync(key: K, options?: Encodings): AppliedEntry<K, V> | null
  getMany(keys: K[], options?: Encodings): Promise<(AppliedEntry<K, V> | null)[]>
  peek(range?: Range<K>, options?: ReadStreamOptions): Promise<AppliedEntry<K, V> | null>
  createReadStream(range?: Range<K>, options?: ReadStreamOptions): EntryStream<AppliedEntry<K, V>>
  getHeader(): Promise<Header>
  /** Seen by reads at once. What is wrong with the arguments is thrown. Resolves to whether it changed anything. */
  put(key: K, value: V, options?: WorkingWriteOptions<K, V>): Promise<boolean>
  del(key: K, options?: WorkingWriteOptions<K, V>): Promise<boolean>
  batch(options?: Encodings): WorkingBatch<K, V>
  write(options?: Encodings): WriteBatch<K, V>
  /** As it is now. */
  snapshot(options?: Encodings): WorkingView<K, V>
  sub<SK = K, SV = V>(prefix: string | Uint8Array, options?: SubOptions): WorkingView<SK, SV>
}

export interface WorkingWriteOptions<K, V> extends Encodings {
  cas?: (prev: AppliedEntry<K, V>, next: { key: K; value: V | null }) => boolean | Promise<boolean>
}

/** Writes that only its own reads see before `flush`. What is left when `apply` returns is flushed. */
export interface WorkingBatch<K, V> {
  put(key: K, value: V, options?: WorkingWriteOptions<K, V>): Promise<boolean>
  del(key: K, options?: WorkingWriteOptions<K, V>): Promise<boolean>
  get(key: K, options?: Encodings): Promise<AppliedEntry<K, V> | null>
  peek(range?: Range<K>, options?: ReadStreamOptions): Promise<AppliedEntry<K, V> | null>
  createReadStream(range?: Range<K>, options?: ReadStreamOptions): EntryStream<AppliedEntry<K, V>>
  flush(): Promise<void>
  close(): Promise<void>
}

/** Writes that nothing reads before `flush`. What is left when `apply` returns is flushed. */
export interface WriteBatch<K, V> {
  tryPut(key: K, value: V): void
  tryDelete(key: K): void
  /** Deletes all there is. */
  tryClear(): void
  lock(): Promise<void>
  flush(): Promise<void>
  close(): Promise<void>
}

/** How the view has moved: versions of this replica. */
export interface ViewChange {
  from: number
  to: number
  /** The last version whose state both orders share: `from`, unless something was reordered. */
  shared: number
}

export interface Finality {
  /** How many positions of the order nothing can move any more. */
  length: number
  /** Of the last of them, in milliseconds since 1970. */
  timestamp: number | null
  /** The indexers still to be heard before the next can be final. */
  waitingFor: Buffer[]
  /** Why it does not apply, in merge mode. */
  reason: string | null
}

/** What was done since it was opened: in apply mode the first five, in merge mode the rest. */
export interface Stats {
  /** Waves that took something back. */
  undos: number
  /** Calls of `apply`. */
  applies: number
  /** Appends of this replica. */
  appends: number
  /** Waves of entries of others that became visible. */
  waves: number
  /** Commits of what was applied. */
  flushes: number
  /** Keys merged: one for each key of each batch or delivery that changed it. */
  merged: number
  /** Diffs folded for that: those that are new, and with one that comes late those that sort after it. */
  folded: number
  /** Earlier states looked at to find one to fold from. */
  searched: number
}

export interface ViewPosition {
  name: 'system' | 'view'
  key: Buffer
  length: number
  /** How much of it is final. */
  signedLength: number
}

export interface ReplayOptions {
  /** Runs `apply` again on every batch. */
  replay: boolean
  onprogress?: (progress: { checked: number; length: number }) => void
  signal?: AbortSignal
}

/** `'all'`, or so many of the latest versions: what is older goes as new ones are written, and with `compact`. */
export type Kept = 'all' | { versions: number }

export interface CompactProgress {
  stage: 'versions' | 'copy' | 'pages' | 'rows'
  done: number
  /** 0 where it is not known. */
  total: number
}

export interface CompactOptions {
  onProgress?: (progress: CompactProgress) => void
  /** Ends it; what was done stays done. */
  signal?: AbortSignal
}

export interface Compacted {
  /** Versions that can be read no more. */
  versions: number
  /** The oldest that still can. */
  oldest: number
}

export interface StoreCompacted {
  /** Versions that can be read no more, of all databases that are open. */
  versions: number
  /** Bytes of the store's file. */
  before: number
  after: number
}

export interface Verified {
  /** batches run again */
  checked: number
  /** batches before which the view is not kept any more (`history`) */
  skipped: number
  /** The first that comes out differently. */
  differs: Difference | null
}

export interface Difference {
  /** Its index in the order. */
  index: number
  writer: Buffer
  /** Of its writer's feed, after it. */
  length: number
  reason: string
  /** A key that is written differently. */
  key?: Buffer
  error?: unknown
}

/** What a {@link MergeHandler} is given besides the diff. `diffs` and `merged` can be read until `merge` has returned. */
export interface MergeContext<K = string, V = any> {
  readonly key: K
  /** The value so far, as a read gives it; null: none. */
  readonly current: Stored<V> | null
  /** The key's diffs in the shared order, the one that is merged being the last; the latest 4,096 of them. */
  readonly diffs: Diff[]
  /** What the built-in merge would make of `current` and the diff. */
  readonly merged: Stored<V>
}

/**
 * Merges in place of the built-in merge. The value of a key is what `merge` makes of its diffs, one after another in the
 * shared order; deletes take effect by themselves. It must be a function of its arguments, the same on every replica. It
 * may be asked about one diff any number of times.
 */
export interface MergeHandler<K = string, V = any> {
  /** The value to be stored. If it throws, or gives what cannot be stored, the key keeps its value, and `error`
   * (`ERR_MERGE`, with `key` and `diff`) says so. */
  merge?(diff: Diff, context: MergeContext<K, V>): V | Promise<V>
  /** The diff of a put, instead of the built-in one; `oldValue` is `{}` where there is none. Null: nothing has changed. */
  genDiff?(oldValue: any, newValue: V): GeneratedDiff | null | Promise<GeneratedDiff | null>
}

/** What `_diff` takes, and `genDiff` gives. */
export type GeneratedDiff = Pick<Diff, 'list'>

/** One of two concurrent whole-value writes. */
export interface ResolverEntry<K = string, V = any> {
  readonly key: K
  readonly value: V
  readonly timestamp: string
  readonly writer: Buffer
  /** The index in its writer's feed. */
  readonly seq: number
}

/** Which of two writes that had not seen each other stands; `b` is the later. Anything else: the later, and `error`. */
export type Resolver<K = string, V = any> = (
  a: ResolverEntry<K, V>,
  b: ResolverEntry<K, V>
) => ResolverEntry<K, V> | Promise<ResolverEntry<K, V>>

/** An object, or a class of such that is constructed with the database. */
export type MergeHandlerOption<K = string, V = any> =
  MergeHandler<K, V> | (new (db: MultiHyperbee<K, V>) => MergeHandler<K, V>)

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

/** How much a relay keeps. What only strangers who know the key announce shares a tenth of it. */
export interface RelayOptions {
  /** 4,096 by default. */
  maxFeeds?: number
  /** Bytes of blocks, and 128 for each block; 16 GiB by default. */
  maxBytes?: number
}

/** Why nothing moves. */
export interface Reason {
  /**
   * `no-peer`: nobody who is connected has it · `not-granted`: its writer is not, or this device is not ·
   * `waiting-for-link`: an entry builds on what is not here (`on`) · `incomplete-batch` · `upgrade-needed` ·
   * `unreadable`: no version can read it · `choking`: a peer (`peer`) has it and does not give it · `not-downloading` ·
   * `forked` · `restored`: this device's own feed may have more elsewhere · `disk-full` · `store-failed` ·
   * `relay-full`: a relay's limits allow no more · `held-back`: own blocks wait until others have said what they have · `apply-paused`: `apply` threw or interrupted
   */
  code:
    | 'no-peer'
    | 'relay-full'
    | 'not-granted'
    | 'waiting-for-link'
    | 'incomplete-batch'
    | 'upgrade-needed'
    | 'unreadable'
    | 'choking'
    | 'not-downloading'
    | 'forked'
    | 'restored'
    | 'disk-full'
    | 'store-failed'
    | 'held-back'
    | 'apply-paused'
  /** What is the case, and what to do. */
  message: string
  feed: Buffer | null
  on: { key: Buffer; length: number } | null
  /** `id` of a peer's status. */
  peer: number | null
}

export interface FeedStatus extends FeedProgress {
  /** This store has its secret key. */
  writable: boolean
  /** Null: all of it is here and applied, or it is on its way. */
  reason: Reason | null
}

/** What one connection does with one feed. */
export interface PeerFeed {
  key: Buffer
  /** Blocks the peer was told are here. */
  ours: number
  /** Blocks it says it has. */
  theirs: number
  /** Blocks asked for that have not come, the end exclusive. */
  asked: { start: number; end: number } | null
  /** Blocks on their way to it. */
  sending: { start: number; end: number } | null
  /** Blocks that have come over it. */
  received: number
  sent: number
  /** Why nothing more is asked for, or comes. */
  idle: 'not-downloading' | 'not-uploading' | 'refused' | 'silent' | null
}

export interface PeerStatus {
  id: number
  stream: ReplicationStream | null
  /** It has said who it is. */
  open: boolean
  /** All it announced is here and applied. */
  synced: boolean
  /** Bytes since the connection began. */
  received: number
  sent: number
  /** Bytes a second, over the last four. */
  downloadRate: number
  uploadRate: number
  /** Bytes of blocks that have come and are not on disk yet. */
  unstored: number
  /** It was asked for something, and no byte has come for ten seconds. */
  silent: boolean
  feeds: PeerFeed[]
}

export interface PeerError {
  error: MultiHyperbeeError
  /** Milliseconds since 1970. */
  at: number
}

export interface SyncStatus {
  /** Somebody is connected, and all that is announced is here and applied. */
  synced: boolean
  /** The gravest reason of all feeds; null: all is here, or something moves. */
  reason: Reason | null
  feeds: FeedStatus[]
  /** Feeds that peers announce, that nobody granted, and that are too many to be listed. */
  unlisted: number
  peers: PeerStatus[]
}

export interface StoreStatus {
  state: 'opening' | 'open' | 'closed'
  databases: (SyncStatus & { name: string; key: Buffer })[]
  peers: PeerStatus[]
  /** Why nothing can be stored. */
  reason: Reason | null
  /** The latest errors of connections made by `store.replicate`. */
  peerErrors: PeerError[]
}

export interface Status extends SyncStatus {
  state: 'opening' | 'open' | 'closing' | 'closed'
  version: number
  writable: boolean
  isIndexer: boolean
  /** Everything that any peer has announced is here and applied. */
  flushed: boolean
  /** the last error that nobody awaited */
  error: MultiHyperbeeError | null
  /** The latest errors of connections. */
  peerErrors: PeerError[]
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

/**
 * Diffs of one feed as a read-only bee, keyed `<object id>/<timestamp>`. A `seq` is the index of a diff's block in the
 * feed, a version a length of it.
 */
export interface DiffView {
  readonly writable: false
  /** How much of the feed is read: all that is merged, or as much as was checked out. */
  readonly version: number
  ready(): Promise<void>
  get(key: string): Promise<DiffEntry | null>
  /** Throws `ERR_NOT_READY` before {@link ready}. */
  getSync(key: string): DiffEntry | null
  getMany(keys: string[]): Promise<(DiffEntry | null)[]>
  getBySeq(seq: number): Promise<{ key: string; value: Diff } | null>
  getHeader(): Promise<{ protocol: 'multi-hyperbee'; version: 1; key: Buffer; metadata: object }>
  peek(range?: Range<string>, options?: DiffStreamOptions & { reverse?: boolean }): Promise<DiffEntry | null>
  /** By object, then timestamp: those that count here. */
  createReadStream(
    range?: Range<string>,
    options?: DiffStreamOptions & { reverse?: boolean }
  ): EntryStream<DiffEntry>
  /** In the order they were written: all that are placed, those that do not count included. */
  createHistoryStream(
    options?: Omit<HistoryOptions, 'live' | keyof Encodings>
  ): EntryStream<DiffEntry & { type: 'put' }>
  /** The diffs that only this (left) or only `other` (right) has. */
  createDiffStream(
    other: number | DiffView,
    range?: Range<string>,
    options?: DiffStreamOptions & { reverse?: boolean }
  ): EntryStream<{ left: DiffEntry | null; right: DiffEntry | null }>
  /** The diffs of the feed's first blocks, or those its writer wrote by then. */
  checkout(length: number | Moment): DiffView
  snapshot(): DiffView
  /** Diffs of what `db.sub(prefix)` holds: keys do not show the prefix, objects' ids do. */
  sub(prefix: string | Uint8Array, options?: { sep?: string | Uint8Array }): DiffView
  /** As of a database; not on what was checked out. */
  watch<T = DiffView>(range?: Range<string>, options?: DiffWatchOptions<T>): Watcher<T>
  getAndWatch(key: string, options?: { signal?: AbortSignal }): Promise<DiffWatcher>
  close(): Promise<void>
}

export interface DiffWatchOptions<T> {
  map?: (snapshot: DiffView) => T
  differ?: (current: DiffView, previous: DiffView, range: Range<string>) => AsyncIterable<unknown>
  eager?: boolean
  onchange?: () => unknown
  signal?: AbortSignal
}

export interface DiffWatcher extends EventEmitter<{ update: []; close: [] }> {
  readonly node: DiffEntry | null
  readonly closed: boolean
  close(): Promise<void>
  destroy(): void
}

/** A feed whose diffs count here, as a read-only bee over them. Sorted by object, then timestamp. */
export interface Peer extends DiffView {
  readonly key: Buffer
  readonly id: string
  readonly feed: Feed
  /** How much of the feed is here. */
  readonly length: number
  status(): FeedProgress
}

export interface BlockOptions {
  /** Milliseconds since 1970; 0 by default. */
  timestamp?: number
  /** What its writer had seen: of other feeds, up to which length. */
  links?: { key: Key; length: number }[]
  /** `'binary'` by default. */
  valueEncoding?: EncodingOption<any>
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
  /** A writer's key has signed two histories, which have `length` blocks in common; `proof` shows it to anyone who has
   * the key. Nothing more of that feed is taken. */
  fork: [{ feed: Buffer; length: number; proof: Buffer }]
  /**
   * The other side of a connection (null: it is over by now) has merged exactly the same entries and says that its view
   * hashes to something else: one of the two has a fault, or it lies. Or, in apply mode, `feed` (whose writer was declared
   * lost) has said more than was promised, which would move what is final before `length`: that is not placed. With the
   * own feed, after a restore: what was final here alone is so no longer from `length` on, and came again after others.
   */
  diverged: [
    { ours: Buffer; theirs: Buffer; peer: ReplicationStream | null } | { feed: Buffer; length: number }
  ]
  'upgrade-needed': [{ feed: Buffer }]
  /** Emitted only if somebody listens; else it is in `status()`, and a warning once. */
  error: [Error]
  /** Nothing before that length of the order can move any more. */
  finalized: [length: number]
  /** `apply` called `host.interrupt`. */
  interrupt: [reason: unknown]
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
  constructor(
    storage: string | Store,
    options?: Options<K, V>,
    mergeHandler?: MergeHandlerOption<K, V> | false | null
  )
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
  /** Where a feed is before anything is in it. */
  static readonly GENESIS: { readonly length: 0; readonly key: null }
  /** A block of apply mode that says `value`, as `append` writes it: for tools that write feeds by hand. */
  static encodeValue(value: any, options?: BlockOptions): Buffer
  /** The value that a block says, null if it says something else. What is no block is `ERR_INVALID_VALUE`. */
  static decodeValue(block: Uint8Array, options?: { valueEncoding?: EncodingOption<any> }): any
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
  /** What is read: in merge mode the database itself; in apply mode what `open` made of {@link bee}, or it. */
  readonly view: View<K, V>
  readonly bee: View<K, V>
  /** Why `apply` was interrupted; null: it was not. */
  readonly interrupted: unknown
  readonly store: Store
  readonly writable: boolean
  readonly isIndexer: boolean
  readonly version: number
  /** Counted since this database was opened in its store. Zeros before {@link ready} and after {@link close}. */
  readonly stats: Stats
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

  /**
   * Apply mode: writes a value, or several as one atomic batch. Resolves when it is on disk, and applied if that is
   * possible now. `ERR_NOT_WRITABLE` if this replica is not granted, unless `optimistic`.
   */
  append(value: V | V[] | Uint8Array | string, options?: { optimistic?: boolean }): Promise<Receipt>
  /** Apply mode: a feed to fetch, of which somebody has told. */
  wakeup(hint: { key: Key; length: number }): Promise<void>
  /** Apply mode: from here on this replica writes the feed of that key pair, which `apply` must grant. */
  setLocal(key: Key | null, options?: { keyPair?: KeyPair | Promise<KeyPair> }): Promise<void>
  /** Apply mode: how far the order and the view go. */
  views(): ViewPosition[]
  /** Apply mode: every value that is applied, in the order. */
  replay(): Promise<ApplyNode<V>[]>
  finality(): Finality
  /** Apply mode, with `replay`: whether `apply` still does on every batch what it did. */
  verify(options: ReplayOptions): Promise<Verified>
  /**
   * Drops versions older than `history` keeps, here or as the database was opened. Those that somebody reads stay, and
   * all that may still be undone. Feeds stay whole. The room is used again; `store.compact()` gives it back.
   */
  compact(options?: CompactOptions & { history?: Kept }): Promise<Compacted>
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
  /** Processes what is here. In apply mode also what had failed or was interrupted; rejects if it fails again. */
  update(): Promise<void>
  /** When what is being processed is. */
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
  /** Where replication stands now: per feed and connection, and why nothing moves if nothing does. Reads memory only. */
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
  /**
   * Stores and forwards the feeds of a database without reading them, as long as what it gives back is open: it has
   * `replicate`, `status`, `flush` and `close`, and whatever reads or writes is `ERR_RELAY`.
   */
  relay(key: Key, options?: RelayOptions & { name?: string }): MultiHyperbee
  /** Where replication of everything open in it stands. Reads memory only. */
  status(): StoreStatus
  /** Copies what is committed now into a directory that holds no store yet; writing goes on meanwhile. A store opened
   * from the copy refuses to write (`ERR_RESTORED`) until a peer that had its feeds has confirmed them, or `resume`. */
  backup(path: string): Promise<void>
  /** `mine`: your word that nothing newer of what this device wrote exists anywhere; lets it write again, also where peers
   * had only the beginning of what it had sent. */
  resume(options: { mine: true }): Promise<void>
  /** Checks all that is stored, on a thread of its own: the file's pages, blocks against signed heads, every row, every
   * key against the diffs it is made of, state hashes. Writing goes on meanwhile. With `repair` what is damaged is mended
   * from what is whole: blocks come from peers, views are made anew from blocks. */
  verify(options?: VerifyOptions): Promise<VerifyReport>
  /**
   * Compacts every database that is open, and writes the store's file anew without what is free. Writes wait while that
   * is written; it needs room for the second file.
   */
  compact(options?: CompactOptions): Promise<StoreCompacted>
  /** Closes everything that was opened from it. */
  close(): Promise<void>
}

export type VerifyStage = 'pages' | 'feeds' | 'rows' | 'views'

export interface VerifyProgress {
  stage: VerifyStage
  done: number
  /** 0 where it is not known. */
  total: number
}

export interface VerifyOptions {
  onProgress?: (progress: VerifyProgress) => void
  /** Mends what is found. */
  repair?: boolean
  /** Opens what is sealed of encrypted databases that are not open; else the store's. */
  encryptionKey?: Uint8Array | Promise<Uint8Array> | null
}

/** One thing that is damaged, named as exactly as can be. */
export interface Damage {
  stage: VerifyStage
  page?: number
  table?: string
  feed?: Buffer
  /** Index of a block. */
  seq?: number
  /** Name of a database. */
  database?: string
  /** A key as stored. */
  key?: Buffer
  why: string
}

export interface VerifyReport {
  /** Nothing is damaged; with `repair`: any more. */
  ok: boolean
  /** What was found. */
  damages: Damage[]
  /** With `repair`: what was done, in words. */
  repaired?: string[]
  /** With `repair`: what goes when peers are met that have the blocks; call it again then. */
  waiting?: Damage[]
  /** With `repair`: what cannot be mended here. */
  remaining?: Damage[]
  /** Damages beyond those listed. */
  more: number
  /** With damaged pages, what stands on them is not looked at. */
  stoppedAt?: VerifyStage
  pages: number
  freePages: number
  /** Pages that nothing uses and that are not free: no damage. */
  lostPages: number
  feeds: number
  blocks: number
  rows: number
  databases: number
  /** Of the databases, those that are encrypted and not open: what is sealed of them was not opened. */
  sealed: number
  keys: number
}

export interface FeedEvents {
  append: []
  close: []
}

/** One writer's signed, append-only log. Opened by itself it is sparse: only what is asked for is fetched. */
export class Feed extends EventEmitter<FeedEvents> {
  private constructor()
  readonly key: Buffer | null
  readonly id: string | null
  readonly discoveryKey: Buffer | null
  /** Blocks its writer has signed, as far as is known here; not all of them need be here. */
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
  /** Fetches the block over any connection of the store and waits for it, unless `wait` is false: then null if it is not here. */
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
  /** Fetches the blocks of a range, by default all that are known, and waits until they are here. */
  download(range?: WaitOptions & { start?: number; end?: number }): Promise<void>
  /** The root hash of the first `length` blocks. */
  treeHash(length?: number): Promise<Buffer>
  close(): Promise<void>
}
