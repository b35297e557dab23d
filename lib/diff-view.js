'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { idEncoding, parseDiffKey, idToKey, diffStream, diffRange, diffEntry } = require('./diffs.js')
const { historyBounds, momentOf } = require('./range.js')
const { Watcher, EntryWatcher } = require('./watch.js')

/** Behind every key that begins with what stands before it. */
const HIGHEST = '\u{10ffff}'

/**
 * The diffs of a feed as a read-only bee, keyed `<object id>/<timestamp>`: those merged by now, or those below a length
 * of the feed; all, or those whose keys begin with a prefix. A seq is the index of a diff's block in the feed.
 */
class DiffView {
  /**
   * @param {import('./session.js').Session} session
   * @param {Buffer} feedKey
   * @param {import('./codec.js').Codec} codec that of the database
   * @param {number | null} at the length of the feed read at; null: all that is merged
   * @param {string} prefix what keys here do not show
   */
  constructor(session, feedKey, codec, at = null, prefix = '') {
    this._session = session
    this._feedKey = feedKey
    this._codec = codec
    this._at = at
    this._prefix = prefix
  }

  get writable() {
    return false
  }

  /** How much of the feed is read: seqs are below. */
  get version() {
    return this._at ?? this._progress().placed
  }

  async ready() {
    await this._session.ready()
  }

  /** The diff `<object id>/<timestamp>`: `{ seq, key, value }`, or null. */
  async get(key) {
    await this._session.ready()
    return this.getSync(key)
  }

  getSync(key) {
    const native = this._session.native()
    if (typeof key !== 'string') throw new MultiHyperbeeError('ERR_OPTIONS', "a diff's key is a text")
    const { id, timestamp } = parseDiffKey(this._prefix + key)
    if (timestamp === null) return null
    const bytes = idToKey(this._codec, id)
    const diff = translated(() => native.feedDiff(this._feedKey, bytes, timestamp, this.version))
    return diff === null ? null : this._shown(diffEntry(this._codec, diff))
  }

  async getMany(keys) {
    await this._session.ready()
    if (!Array.isArray(keys)) throw new MultiHyperbeeError('ERR_OPTIONS', 'getMany takes an array of keys')
    return keys.map((key) => this.getSync(key))
  }

  /** Diffs by object and then timestamp, of the range of diff keys. */
  createReadStream(range, options) {
    const { limit, signal } = { ...range, ...options }
    return this._stream(range, options, { limit, signal, shape: (entry) => this._shown(entry) })
  }

  /** Diffs in the order they were written: `{ type: 'put', seq, key, value }`. */
  createHistoryStream(options = {}) {
    this._session.accept()
    if (options.live) {
      throw new MultiHyperbeeError('ERR_OPTIONS', "a live history is the database's: db.createHistoryStream")
    }
    const open = (native) => {
      const length = this.version
      const { from, to } = historyBounds(options, length - 1)
      const end = to === null ? length : Math.min(length, to + 1)
      return native.feedHistory(this._feedKey, from, end, Boolean(options.reverse))
    }
    const wanted = ({ key }) => key.startsWith(this._prefix)
    const shape = (entry) => ({ type: 'put', ...this._shown(entry) })
    return diffStream(this._session, this._codec, open, { ...options, wanted, shape })
  }

  /** `{ left, right }` of the diffs that only one of the two has, by key. */
  createDiffStream(other, range, options) {
    const at = other instanceof DiffView ? other.version : other
    if (!isLength(at)) {
      throw new MultiHyperbeeError(
        'ERR_OPTIONS',
        'createDiffStream takes a length or a snapshot to compare with'
      )
    }
    const here = this._session.state === 'open' ? this.version : Infinity
    const [old, now] = [Math.min(at, here), Math.max(at, here)]
    const shape = (entry) => {
      const shown = this._shown(entry)
      return at < here ? { left: shown, right: null } : { left: null, right: shown }
    }
    const { limit, signal } = { ...range, ...options }
    const within = ({ seq }) => seq >= old && seq < now
    return this._stream(range, options, { limit, signal, shape, within })
  }

  async peek(range, options) {
    for await (const entry of this.createReadStream(range, { ...options, limit: 1 })) return entry
    return null
  }

  async getBySeq(seq) {
    await this._session.ready()
    if (!Number.isSafeInteger(seq) || seq < 0) return null
    for await (const { key, value } of this.createHistoryStream({ gte: seq, lte: seq })) return { key, value }
    return null
  }

  async getHeader() {
    await this._session.ready()
    return { protocol: 'multi-hyperbee', version: 1, key: Buffer.from(this._feedKey), metadata: {} }
  }

  watch(range, options) {
    this._session.accept()
    return new Watcher(this, range, options)
  }

  async getAndWatch(key, options) {
    await this._session.ready()
    const watcher = new EntryWatcher(this, key, options)
    await watcher.ready()
    return watcher
  }

  /** The diffs of the feed's first `which` blocks, or those not after `{ timestamp }`. */
  checkout(which) {
    this._session.accept()
    const length = which?.timestamp === undefined ? which : this._lengthAt(momentOf(which.timestamp))
    if (!isLength(length)) {
      const what = 'checkout takes a length, a whole number up to version, or { timestamp }'
      throw new MultiHyperbeeError('ERR_OPTIONS', what)
    }
    const newest = this._session.state === 'open' ? this.version : Infinity
    if (length > newest) {
      const what = `length ${length} is not merged here: the feed is up to ${newest}`
      throw new MultiHyperbeeError('ERR_VERSION_GONE', what)
    }
    return new DiffView(this._session, this._feedKey, this._codec, length, this._prefix)
  }

  snapshot() {
    this._session.native()
    return this.checkout(this.version)
  }

  /** The diffs whose keys begin with `prefix` and `sep`, which they do not show. */
  sub(prefix, options) {
    this._session.accept()
    const { sep = '\0' } = options ?? {}
    const bytes = Buffer.concat([Buffer.from(prefix ?? ''), Buffer.from(sep)])
    const longer = this._prefix + bytes.toString(idEncoding(this._codec))
    return new DiffView(this._session, this._feedKey, this._codec, this._at, longer)
  }

  /** It holds nothing: closing it is harmless, and so is not closing it. */
  async close() {}

  _stream(range, options, { within, ...rest }) {
    this._session.accept()
    const { native: bounds, wanted } = diffRange(this._codec, this._inside(range), options)
    const { single, from, to, reverse } = bounds
    const open = (native) => native.feedDiffs(this._feedKey, single, from, to, reverse)
    const has = within ?? (({ seq }) => this._reaches(seq))
    const all = (entry) => has(entry) && entry.key.startsWith(this._prefix) && wanted(entry)
    return diffStream(this._session, this._codec, open, { ...rest, wanted: all })
  }

  /** The range as the whole feed has it. */
  _inside(range) {
    if (this._prefix === '') return range
    const inside = { ...range }
    for (const name of ['gt', 'gte', 'lt', 'lte']) {
      if (inside[name] != null) inside[name] = this._prefix + inside[name]
    }
    if (inside.gt == null && inside.gte == null) inside.gte = this._prefix
    if (inside.lt == null && inside.lte == null) inside.lt = this._prefix + HIGHEST
    return inside
  }

  _shown({ seq, key, value }) {
    return { seq, key: key.slice(this._prefix.length), value }
  }

  _reaches(seq) {
    return this._at === null || seq < this._at
  }

  _lengthAt(milliseconds) {
    return translated(() => this._session.native().feedLengthAt(this._feedKey, milliseconds))
  }

  /** `have` of `want` blocks are here, `placed` of them merged. */
  _progress() {
    const none = { key: this._feedKey, have: 0, placed: 0, want: 0 }
    if (this._session.state !== 'open') return none
    const feeds = translated(() => this._session.native().progress())
    return feeds.find((feed) => this._feedKey.equals(feed.key)) ?? none
  }
}

function isLength(x) {
  return Number.isSafeInteger(x) && x >= 0
}

module.exports = { DiffView }
