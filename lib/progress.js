'use strict'

const { setTimeout: sleep } = require('node:timers/promises')
const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { waitUntil } = require('./wait.js')
const { syncStatus, nothing, PeerErrors } = require('./status.js')

/** At most ten a second. */
const INTERVAL_MS = 100

/** What has been synced and what has not. */
class Progress {
  constructor(db, session, streams) {
    /** Of connections of this database. */
    this.peerErrors = new PeerErrors()
    this._db = db
    this._session = session
    this._streams = streams
  }

  status() {
    const { state } = this._session
    const native = state === 'open' ? this._session.native() : null
    const rights = native?.rights() ?? 0
    const known = native === null ? nothing() : syncStatus(native, this._streams)
    const { _mode: mode, _reports: reports } = this._db
    return {
      state,
      version: native?.version() ?? 0,
      writable: (rights & 1) !== 0,
      isIndexer: (rights & 2) !== 0,
      flushed: native === null ? false : translated(() => native.isFlushed()),
      ...known,
      // What stopped applying stops everything behind it.
      reason: mode.pause ?? known.reason,
      synced: known.synced && mode.pause === null,
      error: reports.error,
      peerErrors: this.peerErrors.list()
    }
  }

  /** Waits until that entry is in the view. */
  async applied(receipt, options) {
    const native = await this._session.ready()
    const key = decodeKey(receipt?.key)
    if (!Number.isSafeInteger(receipt.length)) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'applied takes a receipt: { key, length }')
    }
    await waitUntil(this._session, () => native.applied(key, receipt.length), options, 'applied')
  }

  /** The frontier: how much of every feed is in the view. */
  async heads() {
    const native = await this._session.ready()
    const placed = translated(() => native.progress()).filter((feed) => feed.placed > 0)
    return placed.map((feed) => ({ key: feed.key, length: feed.placed }))
  }

  /** The status now, and again whenever it changed, until the database closes. */
  syncProgress(options) {
    this._session.accept()
    return this._changes(options)
  }

  async *_changes(options) {
    await this._session.ready()
    while (this._session.state === 'open') {
      let changed = false
      const unlisten = this._session.listen(() => (changed = true))
      try {
        yield this.status()
        await sleep(INTERVAL_MS, undefined, { ref: false })
        if (this._session.state !== 'open') return
        await waitUntil(this._session, () => changed, options, 'progress')
      } catch (error) {
        if (error.code === 'ERR_CLOSED') return
        throw error
      } finally {
        unlisten()
      }
    }
  }
}

module.exports = { Progress }
