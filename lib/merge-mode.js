'use strict'

const { MultiHyperbeeError } = require('./errors.js')
const { Bee } = require('./bee.js')
const { Codec } = require('./codec.js')
const { merged } = require('./merge-handler.js')
const { waitUntil } = require('./wait.js')

const REOPEN = 'a database is created with apply to have it'

/** What a database does in merge mode, and not in apply mode. */
class MergeMode {
  constructor(db, session, { keyEncoding, valueEncoding }) {
    this.interrupted = null
    this.bee = new Bee(session, new Codec(keyEncoding, valueEncoding))
    /** The view is the database itself. */
    this.view = db
    this._db = db
    this._session = session
  }

  get stats() {
    const cost =
      this._session.state === 'open' ? this._session.native().stats() : { merged: 0, folded: 0, searched: 0 }
    return { undos: 0, applies: 0, appends: 0, waves: 0, flushes: 0, ...cost }
  }

  /** Processes what is here. */
  async update() {
    await this._session.settled()
    await this._session.merger?.update()
    await merged(this._session, [])
  }

  async updated() {
    await this.update()
  }

  /** Waits until everything that any connected peer has announced is here and applied. */
  async flush(options) {
    const native = await this._session.settled()
    await waitUntil(this._session, () => native.isFlushed(), options, 'flush')
  }

  finality() {
    this._session.native()
    const reason =
      'finality is for apply mode: in merge mode a value may always gain from a diff that comes late'
    return { length: 0, timestamp: null, waitingFor: [], reason }
  }

  views() {
    this._session.native()
    throw refusal('views', REOPEN)
  }

  progress() {}

  /** Nothing of the user's stops merging for good. */
  get pause() {
    return null
  }

  /** An access request is granted. */
  accept(key, options) {
    return this._db.addWriter(key, options)
  }

  mayInvite() {}

  async append() {
    this._session.accept()
    throw refusal('append', 'this database merges, write with put, del or batch')
  }

  async verify() {
    this._session.accept()
    throw refusal('verify({ replay: true })', 'here there is no apply to run again')
  }
}

for (const name of ['wakeup', 'setLocal', 'replay']) {
  MergeMode.prototype[name] = async function () {
    this._session.accept()
    throw refusal(name, REOPEN)
  }
}

function refusal(name, instead) {
  return new MultiHyperbeeError('ERR_MODE', `${name} is for apply mode: ${instead}`)
}

module.exports = { MergeMode }
