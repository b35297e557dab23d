'use strict'

const { DiffView } = require('./diff-view.js')

/** A feed whose diffs count here, as a read-only bee over its diffs. */
class Peer extends DiffView {
  constructor(session, key, store, codec) {
    super(session, key, codec)
    this._store = store
    this._feed = null
    this.key = key
  }

  get id() {
    return this.key.toString('hex')
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

  /** `have` of `want` blocks are here, `placed` of them merged. */
  status() {
    return this._progress()
  }
}

module.exports = { Peer }
