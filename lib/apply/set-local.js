'use strict'

const { MultiHyperbeeError, translated } = require('../errors.js')
const { decodeKey } = require('../keys.js')
const { publicKeyOf } = require('../key-pair.js')
const { seedOf } = require('../options.js')
const { translatedAsync } = require('../session.js')

/** From here on `db` writes the feed of that key pair, after a restart too. Whether it counts is for `apply` to say. */
async function setLocal(db, session, native, key, options) {
  const wanted = key == null ? null : decodeKey(key)
  const seed = await seedOf(options?.keyPair ?? null)
  if (seed === undefined) {
    if (wanted?.equals(session.info.local)) return
    throw wrong(
      'setLocal takes the key pair of the feed: setLocal(key, { keyPair: { publicKey, secretKey } })'
    )
  }
  if (wanted !== null && !wanted.equals(publicKeyOf(seed)))
    throw wrong('key and keyPair name two feeds: pass one of them')
  if (publicKeyOf(seed).equals(session.info.local)) return
  await translatedAsync(translated(() => native.setLocal(seed)))
  session.info = native.info()
  const before = db._local
  db._local = db.store.get(session.info.local)
  await before.close()
  await db._local.ready()
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

module.exports = { setLocal }
