'use strict'

const KEYS = 100_000

/** Entries of about 100 bytes, in an order that is not the keys'. */
function entries() {
  return Array.from({ length: KEYS }, (_, n) => {
    const index = (n * 48_271) % KEYS
    return [
      `key/${String(index).padStart(8, '0')}`,
      { name: `entry ${index}`, n: index, text: 'x'.repeat(60) }
    ]
  })
}

module.exports = { entries, KEYS }
