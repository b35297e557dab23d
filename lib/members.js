'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { translatedAsync } = require('./session.js')
const { decodeResults } = require('./packed.js')
const { settled } = require('./write-queue.js')
const { createUnionStream } = require('./diffs.js')
const { Peer } = require('./peer.js')

/** Whose feeds count: this replica's own choice (peers), and the one all replicas share (writers). */
class Members {
  constructor(db, session) {
    this._db = db
    this._session = session
  }

  /** Merges that feed here, from its first entry on. */
  async addPeer(feedKey) {
    const native = await this._session.ready()
    const key = this._foreignKey(feedKey)
    await translatedAsync(translated(() => native.addPeer(key)))
    return this.peer(key)
  }

  async removePeer(feedKey) {
    const native = await this._session.ready()
    const key = this._foreignKey(feedKey)
    const removed = await translatedAsync(translated(() => native.removePeer(key)))
    return removed ? this.peer(key) : false
  }

  async getPeers() {
    const native = await this._session.ready()
    const added = translated(() => native.members()).filter((member) => member.added)
    return added.map((member) => this.peer(member.key))
  }

  /** @returns {Promise<boolean>} whether that changed anything */
  async addWriter(key, options) {
    const native = await this._session.ready()
    const writer = decodeKey(key)
    return this._written(native.addWriter(writer, Boolean(options?.isIndexer)))
  }

  /** @returns {Promise<boolean>} whether that changed anything */
  async removeWriter(key, options) {
    const native = await this._session.ready()
    const writer = decodeKey(key)
    return this._written(native.removeWriter(writer, Boolean(options?.lost)))
  }

  async writers() {
    const native = await this._session.ready()
    const members = translated(() => native.members())
    return members
      .filter((member) => member.granted || member.removedBy != null)
      .map(({ key, length, counted, indexer, removedBy }) => {
        return { key, length, counted, isIndexer: indexer, removedBy: removedBy ?? null }
      })
  }

  peer(key) {
    return new Peer(this._session, key, this._db.store, this._db._bee._codec)
  }

  /** The local diffs: its `feed.key` is what others pass to `addPeer`. */
  async getDiff() {
    await this._session.ready()
    return this.peer(this._db.local.key)
  }

  /** Every writer's diffs of an object, from the timestamp in `<object id>/<timestamp>` on, in order. */
  createUnionStream(key, options) {
    this._session.accept()
    return createUnionStream(this._session, this._db._bee._codec, key, options)
  }

  async _written(promise) {
    return settled(decodeResults(await translatedAsync(promise))[0]).kind === 'yes'
  }

  _foreignKey(feedKey) {
    const key = decodeKey(feedKey)
    if (!key.equals(this._db.local.key)) return key
    throw new MultiHyperbeeError('ERR_INVALID_KEY', 'this is the own feed: pass the key of another')
  }
}

/** In apply mode everybody follows every feed that counts, and `apply` says which do. */
class MembersInApply extends Members {
  createUnionStream() {
    this._session.accept()
    const what = 'createUnionStream is for merge mode: in apply mode replay() has what was applied'
    throw new MultiHyperbeeError('ERR_MODE', what)
  }
}

const GRANTS = 'append a value on which your apply calls host.addWriter or host.removeWriter'
const REFUSED = {
  addWriter: `in apply mode it is apply that grants: ${GRANTS}`,
  removeWriter: `in apply mode it is apply that revokes: ${GRANTS}`,
  addPeer: `addPeer is for merge mode: ${GRANTS}`,
  removePeer: `removePeer is for merge mode: ${GRANTS}`,
  getPeers: 'getPeers is for merge mode: in apply mode there are writers()',
  getDiff: 'getDiff is for merge mode: in apply mode there are no diffs, db.local is the feed'
}
for (const [name, what] of Object.entries(REFUSED)) {
  MembersInApply.prototype[name] = async function () {
    this._session.accept()
    throw new MultiHyperbeeError('ERR_MODE', what)
  }
}

module.exports = { Members, MembersInApply }
