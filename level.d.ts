import { AbstractDatabaseOptions, AbstractLevel } from 'abstract-level'
import { MultiHyperbee, Options, Store } from './index'

/** Of the level, and of the database below if the level is to open it: `key` joins one, `name` picks one of a store. */
export interface MultiHyperbeeLevelOptions<K = string, V = string>
  extends
    AbstractDatabaseOptions<K, V>,
    Pick<Options, 'key' | 'name' | 'keyPair' | 'writers' | 'maxDrift' | 'history'> {}

/**
 * LevelDB's interface, as `abstract-level` defines it, on a {@link MultiHyperbee}. Needs the optional peer dependency
 * `abstract-level`.
 */
export class MultiHyperbeeLevel<K = string, V = string> extends AbstractLevel<Buffer, K, V> {
  /**
   * @param location the path of a directory, `':memory:'` or a {@link Store}: a database of registers is opened with the
   *   level and closed with it. Or a database: it is used, and stays open when the level is closed.
   */
  constructor(location: string | Store | MultiHyperbee<any, any>, options?: MultiHyperbeeLevelOptions<K, V>)

  /** The database below, for replication, peers and writers. null before the level opens; another one after reopening. */
  readonly db: MultiHyperbee<any, any> | null
}
