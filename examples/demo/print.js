'use strict'

let steps = 0

/** The headline of the next chapter. */
function step(title) {
  console.log(`\n${++steps}. ${title}`)
}

/** A bar that is redrawn in place on a terminal, and printed once, when full, anywhere else. */
function progress(label, done, total) {
  const share = total === 0 ? 1 : done / total
  if (!process.stdout.isTTY && share < 1) return
  const bar = '#'.repeat(Math.floor(share * 30)).padEnd(30, '.')
  const end = share < 1 ? '' : '\n'
  process.stdout.write(
    `${process.stdout.isTTY ? '\r' : ''}  ${label.padEnd(16)} [${bar}] ${done}/${total}${end}`
  )
}

/** Prints the state hash of every device; with `equal`, throws unless all are one. Returns the first. */
async function showHashes(devices, { equal = false } = {}) {
  const hashes = []
  for (const { name, db } of devices) {
    const hash = await db.stateHash()
    const text = typeof hash === 'string' ? hash : Buffer.from(hash).toString('hex')
    console.log(`  ${name.padEnd(6)} ${text}`)
    hashes.push(text)
  }
  if (equal && new Set(hashes).size !== 1) throw new Error('the devices hold different states')
  return hashes[0]
}

module.exports = { step, progress, showHashes }
