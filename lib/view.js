'use strict'

const { MultiHyperbeeError } = require('./errors.js')
const { resolveEncoding } = require('./encodings.js')
const { Codec } = require('./codec.js')
const { readEntry, readEntries } = require('./reader.js')
const { nativeRange } = require('./range.js')
const { createReadStream, createHistoryStream } = require('./streams.js')

/** The read half of the key-value API: over the newest version, or a fixed one; whole, or what begins with a prefix. */
class View {
  /**
   * @param {import('./session.js').Session} session
   * @param {Codec} codec
   * @param {number | null} at the version read at; null: the newest
   */
  constructor(session, codec, at = null) {
    this._session = session
    this._codec = codec
    this._at = at
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

  /** A read-only view of this replica as it was when its version was `version`. */
  checkout(version, options) {
    this._session.accept()
    if (!Number.isSafeInteger(version) || version < 0) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'checkout takes a version, a whole number from db.version')
    }
    if (this._session.state === 'open' && version > this.version) {
      const what = `version ${version} is not there yet: the newest is ${this.version}`
      throw new MultiHyperbeeError('ERR_OPTIONS', what)
    }
    return new View(this._session, this._codec.with(options), version)
  }

  snapshot(options) {
    // Its version is one that exists, so there has to be one.
    const version = this._at ?? this._session.native().version()
    return new View(this._session, this._codec.with(options), version)
  }

  /** @returns {Codec} that of `sub(prefix)` */
  _subCodec(prefix, options) {
    const { keyEncoding, valueEncoding, sep = '\0' } = options ?? {}
    const bytes = (text) => (typeof text === 'string' ? Buffer.from(text) : Buffer.from(text ?? ''))
    return new Codec(
      keyEncoding == null ? this._codec.keyEncoding : resolveEncoding(keyEncoding, 'keyEncoding'),
      valueEncoding == null ? this._codec.valueEncoding : resolveEncoding(valueEncoding, 'valueEncoding'),
      Buffer.concat([this._codec.prefix, bytes(prefix), bytes(sep)])
    )
  }

  sub(prefix, options) {
    this._session.accept()
    return new View(this._session, this._subCodec(prefix, options), this._at)
  }

  /** A view holds nothing: closing it is harmless, and so is not closing it. */
  async close() {}
}

module.exports = { View }
