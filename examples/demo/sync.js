'use strict'

const { progress } = require('./print.js')

// Nothing here waits for time to pass: every wait ends when what it names has happened.

/** Waits until devices have applied what was imported and granted, and every connection has said it is in sync. */
async function caughtUp(devices, connections, imported, granted) {
  await Promise.all(devices.map(({ name, db }) => showProgress(name, db, imported)))
  await Promise.all(connections.map((connection) => connection.synced))
  for (const { db } of devices) {
    await db.applied(granted)
    await db.flush()
  }
}

/** Draws how much of one feed a device holds, until it has all of `position`. */
async function showProgress(name, db, { key, length }) {
  const applied = db.applied({ key, length })
  const held = async () => {
    const writer = (await db.writers()).find((each) => each.key.equals(key))
    return Math.min(writer?.length ?? 0, length)
  }
  const draw = () => held().then((n) => n < length && progress(name, n, length))
  db.on('update', draw)
  await applied
  db.off('update', draw)
  progress(name, length, length)
}

/** Waits until every device has applied what each of them wrote. */
async function exchanged(devices, connections, positions) {
  await Promise.all(connections.map((connection) => connection.synced))
  for (const { name, db } of devices) {
    await Promise.all(positions.map((position) => db.applied(position)))
    await db.flush()
    console.log(`  ${name} has what everybody wrote`)
  }
}

module.exports = { caughtUp, exchanged }
