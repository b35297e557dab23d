'use strict'

const countries = require('world-countries')
const { progress } = require('./print.js')

/** Puts every country under `country/<cca3>`. Resolves with the position of the last entry. */
async function importCountries(db) {
  let done = 0
  const puts = countries.map(async (country) => {
    await db.put(`country/${country.cca3}`, country)
    progress('imported', ++done, countries.length)
  })
  await Promise.all(puts)
  const { key, length } = db.local
  return { key, length }
}

module.exports = { importCountries }
