'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { waitUntil } = require('./wait.js')

/** A database that is only stored and forwarded: it has no view, and says so. */
class RelayMode {
  constructor(db, session, { keyEncoding, valueEncoding }) {
    this.interrupted = null
    this.pause = null
    this.bee = new RelayBee(session, keyEncoding, valueEncoding)
    this.view = db
    this.stats = { undos: 0, applies: 0, appends: 0, waves: 0, flushes: 0, merged: 0, folded: 0, searched: 0 }
    this._session = session
  }

  progress() {}

  async update() {
    await this._session.ready()
  }

  async updated() {
    await this._session.ready()
  }

  /** Waits until all that any connected peer has announced, and there is room for, is here. */
  async flush(options) {
    const native = await this._session.ready()
    await waitUntil(this._session, () => translated(() => native.isFlushed()), options, 'flush')
  }

  async accept() {
    return false
  }

  mayInvite() {
    throw refusal()
  }
}

/** The reads and writes of a database, none of which a relay has. */
class RelayBee {
  constructor(session, keyEncoding, valueEncoding) {
    this.keyEncoding = keyEncoding
    this.valueEncoding = valueEncoding
    this.version = 0
    this._session = session
  }
}

/** Nobody is granted or merged where nothing is read. */
class MembersInRelay {
  constructor(_db, session) {
    this._session = session
  }
}

const PROMISES = {
  MembersInRelay: 'addPeer removePeer getPeers addWriter removeWriter writers getDiff',
  RelayMode: 'append wakeup setLocal replay verify',
  RelayBee: 'get getMany put del conflicts getAndWatch peek getBySeq getHeader'
}
const AT_ONCE = {
  MembersInRelay: 'createUnionStream',
  RelayMode: 'views finality',
  RelayBee: 'getSync batch createReadStream createHistoryStream createDiffStream watch checkout snapshot sub'
}

for (const Class of [RelayMode, RelayBee, MembersInRelay]) {
  for (const name of PROMISES[Class.name].split(' ')) {
    Class.prototype[name] = async function () {
      await this._session.ready()
      throw refusal()
    }
  }
  for (const name of AT_ONCE[Class.name].split(' ')) {
    Class.prototype[name] = function () {
      this._session.accept()
      throw refusal()
    }
  }
}

function refusal() {
  const message =
    'this is a relay: it stores and forwards what it cannot read; open the database without relay to read or write'
  return new MultiHyperbeeError('ERR_RELAY', message)
}

module.exports = { RelayMode, MembersInRelay }
