'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { resolveEncoding } = require('./encodings.js')
const { readEntry, readEntries } = require('./reader.js')
const { nativeRange, momentOf } = require('./range.js')
const { createReadStream, createHistoryStream, createDiffStream } = require('./streams.js')
const { Watcher, EntryWatcher } = require('./watch.js')

/** The read half of the key-value API: over the newest version, or a fixed one; whole, or what begins with a prefix. */
class View {
  /**
   * @param {import('./session.js').Session} session
   * @param {import('./codec.js').Codec} codec
   * @param {number | null} at the version read at; null: the newest
   * @param {{ close: () => void } | null} pin keeps that version readable
   */
  constructor(session, codec, at = null, pin = null) {
    this._session = session
    this._codec = codec
    this._at = at
    this._pin = pin
  }

  get keyEncoding() {
    return this._codec.keyEncoding
  }

  get valueEncoding() {
    return this._codec.valueEncoding
  }

  get writable() {
    return false
  }

  get version() {
    if (this._at !== null) return this._at
    return this._session.state === 'open' ? this._session.native().version() : 0
  }

  async ready() {
    await this._session.ready()
  }

  async get(key, options) {
    const native = this._session.state === 'open' ? this._session.native() : await this._session.ready()
    return readEntry(native, options == null ? this._codec : this._codec.with(options), key, this._at)
  }

  getSync(key, options) {
    return readEntry(this._session.native(), this._codec.with(options), key, this._at)
  }

  async getMany(keys, options) {
    const native = await this._session.ready()
    if (!Array.isArray(keys)) throw new MultiHyperbeeError('ERR_OPTIONS', 'getMany takes an array of keys')
    return readEntries(native, this._codec.with(options), keys, this._at)
  }

  createReadStream(range, options) {
    this._session.accept()
    const codec = this._codec.with(options ?? range)
    const native = nativeRange(codec, range, options)
    return createReadStream(this._session, codec, native, this._at, options ?? range)
  }

  createHistoryStream(options) {
    this._session.accept()
    if (this._at !== null && options?.live) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'a snapshot has no live history: ask the database for it')
    }
    return createHistoryStream(this._session, this._codec.with(options), this._at, options)
  }

  /** The first entry of the range, or null. */
  async peek(range, options) {
    await this._session.ready()
    for await (const entry of this.createReadStream(range, { ...range, ...options, limit: 1 })) return entry
    return null
  }

  /** What was written as `seq`: `{ key, value }`, or null. */
  async getBySeq(seq, options) {
    await this._session.ready()
    if (!Number.isSafeInteger(seq) || seq < 0 || seq > this.version) return null
    const stream = this.createHistoryStream({ ...options, gte: seq, lte: seq })
    for await (const entry of stream) return { key: entry.key, value: entry.value }
    return null
  }

  /** What was so when the database was created, for whoever wonders what this is. */
  async getHeader() {
    await this._session.ready()
    const { key, keyEncoding, valueEncoding } = this._session.info
    return { protocol: 'multi-hyperbee', version: 1, key, metadata: { keyEncoding, valueEncoding } }
  }

  /** `{ left, right }`, by key: the entries here and in `other` (a version or a view) of what differs. */
  createDiffStream(other, range, options) {
    this._session.accept()
    const at = other instanceof View ? other.version : other
    if (!isVersion(at)) {
      throw new MultiHyperbeeError(
        'ERR_OPTIONS',
        'createDiffStream takes a version or a snapshot to compare with'
      )
    }
    const codec = this._codec.with(options ?? range)
    const native = nativeRange(codec, range, options)
    return createDiffStream(this._session, codec, native, [this._at, at], options ?? range)
  }

  /** An async iterator of `[current, previous]` snapshots, whenever something in the range has changed. */
  watch(range, options) {
    this._session.accept()
    return new Watcher(this, range, options)
  }

  /** `{ node }`, kept current, with an event `update`. */
  async getAndWatch(key, options) {
    await this._session.ready()
    const watcher = new EntryWatcher(this, key, options)
    await watcher.ready()
    return watcher
  }

  /** A read-only view of this replica as it was when its version was `which`, or at `{ timestamp }`. */
  checkout(which, options) {
    this._session.accept()
    const version = which?.timestamp === undefined ? which : this._versionAt(which.timestamp)
    if (!isVersion(version)) {
      const what = 'checkout takes a version, a whole number from db.version, or { timestamp }'
      throw new MultiHyperbeeError('ERR_OPTIONS', what)
    }
    return new View(this._session, this._codec.with(options), version, hold(this._session, version))
  }

  /** The last version committed by then. */
  _versionAt(timestamp) {
    const time = momentOf(timestamp)
    return translated(() => this._session.native().versionAt(time))
  }

  snapshot(options) {
    // Its version is one that exists, so there has to be one.
    const native = this._session.native()
    const pin = translated(() => native.hold(this._at ?? undefined))
    return new View(this._session, this._codec.with(options), pin.version, pin)
  }

  /** @returns {import('./codec.js').Codec} that of `sub(prefix)` */
  _subCodec(prefix, options) {
    const { keyEncoding, valueEncoding, sep = '\0' } = options ?? {}
    const bytes = (text) => (typeof text === 'string' ? Buffer.from(text) : Buffer.from(text ?? ''))
    return new this._codec.constructor(
      keyEncoding == null ? this._codec.keyEncoding : resolveEncoding(keyEncoding, 'keyEncoding'),
      valueEncoding == null ? this._codec.valueEncoding : resolveEncoding(valueEncoding, 'valueEncoding'),
      Buffer.concat([this._codec.prefix, bytes(prefix), bytes(sep)])
    )
  }

  sub(prefix, options) {
    this._session.accept()
    const pin = this._at === null ? null : hold(this._session, this._at)
    return new View(this._session, this._subCodec(prefix, options), this._at, pin)
  }

  /** From here on its version may go. Whoever does not close it keeps it until it is collected. */
  async close() {
    this._pin?.close()
    this._pin = null
  }
}

/**
 * Keeps a version readable; before the database is open, it is the read that finds out whether it is there. The empty
 * view, version 0, always is.
 */
function hold(session, version) {
  if (version === 0) return null
  if (session.state === 'open') return translated(() => session.native().hold(version))
  let pin = null
  let isClosed = false
  const opened = (native) => {
    if (!isClosed && session.state === 'open' && version <= native.version()) pin = native.hold(version)
  }
  session.whenOpen(opened, () => {})
  const close = () => {
    isClosed = true
    pin?.close()
  }
  return { close }
}

function isVersion(x) {
  return Number.isSafeInteger(x) && x >= 0
}

module.exports = { View }
