'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { parseDiffKey, idToKey, diffStream, diffRange } = require('./diffs.js')
const { historyBounds } = require('./range.js')

/** A feed whose diffs count here, as a read-only bee: the diffs, keyed `<object id>/<timestamp>`. */
class Peer {
  constructor(session, key, store, codec) {
    this._session = session
    this._store = store
    this._codec = codec
    this._feed = null
    this.key = key
  }

  get id() {
    return this.key.toString('hex')
  }

  get writable() {
    return false
  }

  /** Its blocks, as they travel. */
  get feed() {
    if (this._feed === null) this._feed = this._store.get(this.key)
    return this._feed
  }

  /** How much of it is here. */
  get length() {
    return this.status().have
  }

  /** How much of it is merged: the seqs of its diffs are below. */
  get version() {
    return this.status().placed
  }

  /** `have` of `want` blocks are here, `placed` of them merged. */
  status() {
    const none = { key: this.key, have: 0, placed: 0, want: 0 }
    if (this._session.state !== 'open') return none
    const feeds = translated(() => this._session.native().progress())
    return feeds.find((feed) => this.key.equals(feed.key)) ?? none
  }

  async ready() {
    await this._session.ready()
  }

  /** The diff `<object id>/<timestamp>`: `{ seq, key, value }`, or null. */
  async get(key) {
    await this._session.ready()
    if (typeof key !== 'string') throw new MultiHyperbeeError('ERR_OPTIONS', "a diff's key is a text")
    const { id, timestamp } = parseDiffKey(key)
    if (timestamp === null) return null
    let found = null
    const feed = this.key
    const open = (native) =>
      native.feedDiffs(feed, [], idToKey(this._codec, id), idToKey(this._codec, id), false)
    const wanted = (entry) => entry.value._timestamp === timestamp
    // Two puts of one object in a batch share a timestamp: the later one is what is there.
    for await (const entry of diffStream(this._session, this._codec, open, { wanted })) found = entry
    return found
  }

  getMany(keys) {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  /** Diffs by object and then timestamp, of the range of diff keys. */
  createReadStream(range, options) {
    this._session.accept()
    const { native: bounds, wanted } = diffRange(this._codec, range, options)
    const { single, from, to, reverse } = bounds
    const open = (native) => native.feedDiffs(this.key, single, from, to, reverse)
    const { limit, signal } = { ...range, ...options }
    return diffStream(this._session, this._codec, open, { wanted, limit, signal })
  }

  /** Diffs in the order they were written: `{ type: 'put', seq, key, value }`, `seq` being the index in the feed. */
  createHistoryStream(options = {}) {
    this._session.accept()
    if (options.live) {
      throw new MultiHyperbeeError('ERR_OPTIONS', "a live history is the database's: db.createHistoryStream")
    }
    const open = (native) => {
      const length = this.version
      const { from, to } = historyBounds(options, length - 1)
      return native.feedHistory(this.key, from, to === null ? length : to + 1, Boolean(options.reverse))
    }
    const shape = (entry) => ({ type: 'put', ...entry })
    return diffStream(this._session, this._codec, open, { ...options, shape })
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

  /** It holds nothing: closing it is harmless, and so is not closing it. */
  async close() {}
}

module.exports = { Peer }
