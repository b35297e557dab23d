'use strict'

const { translated } = require('./errors.js')

/** A feed that this replica chose to merge. */
class Peer {
  constructor(session, key, store) {
    this._session = session
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
    const none = { key: this.key, have: 0, placed: 0, want: 0 }
    if (this._session.state !== 'open') return none
    const feeds = translated(() => this._session.native().progress())
    return feeds.find((feed) => this.key.equals(feed.key)) ?? none
  }
}

module.exports = { Peer }
