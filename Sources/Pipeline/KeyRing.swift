import Core
import Crypto

/// Who may call: an application, a person or a machine with keys of its own.
public struct Consumer: Sendable {
  /// The name, unique among consumers.
  public let id: String
  /// The tenant it belongs to, if any.
  public let tenant: String?
  /// The groups it is in, in the order of the configuration.
  public let groups: [String]
  /// The usage plan that it has, if any.
  public let plan: String?
  /// Its keys; several may be valid at the same time.
  public let keys: [ConsumerKey]

  /// A consumer of these parts.
  public init(
    id: String, tenant: String? = nil, groups: [String] = [], plan: String? = nil, keys: [ConsumerKey] = []
  ) {
    self.id = id
    self.tenant = tenant
    self.groups = groups
    self.plan = plan
    self.keys = keys
  }
}

/// A secret by which a consumer is known, as its digest only.
public struct ConsumerKey: Sendable {
  /// The name, unique among the consumer's keys.
  public let id: String
  /// SHA-256 of the key's text.
  public let digest: Digest
  /// The first moment at which it is valid; nil for always.
  public let notBefore: WallTime?
  /// The first moment at which it is no longer valid; nil for never.
  public let expires: WallTime?

  /// A key of these parts.
  public init(id: String, digest: Digest, notBefore: WallTime? = nil, expires: WallTime? = nil) {
    self.id = id
    self.digest = digest
    self.notBefore = notBefore
    self.expires = expires
  }
}

/// All consumers and the way from a key to its holder. Immutable; replaced whole.
public final class KeyRing: Sendable {
  /// The consumers, in the order of the configuration.
  public let consumers: ContiguousArray<Consumer>

  @usableFromInline let entries: ContiguousArray<Entry>
  private let table: ContiguousArray<Int32>
  @usableFromInline let names: ContiguousArray<ConsumerNames>
  /// What the plans of consumers are called; empty where nobody has one.
  private let plans: ContiguousArray<QuotaKey?>
  /// Indexes of consumers by their names, half of the places empty (−1).
  private let consumerTable: ContiguousArray<Int32>
  private let places = KeyedPlaces()

  /// One key, as plain data.
  @usableFromInline
  struct Entry: BitwiseCopyable, Sendable {
    let digest: Digest
    let notBefore: Int64
    let expires: Int64
    let consumer: Int32
    let key: Int32
    /// Whether it is valid at any time.
    let isForever: Bool
    @usableFromInline let keyName: QuotaKey
  }

  /// What limits count a consumer under.
  @usableFromInline
  struct ConsumerNames: BitwiseCopyable, Sendable {
    @usableFromInline let consumer: QuotaKey
    let tenant: QuotaKey?
    let group: QuotaKey?
    /// Where the consumer's keys begin among all.
    @usableFromInline let firstEntry: Int32
    /// See ``Services/owner(ofConsumer:)``.
    @usableFromInline let owner: UInt16
  }

  /// A ring of `consumers`. Two keys with one digest are refused, since nobody could say whose it is; and those of which the
  /// first 128 bits are the same, since nobody has digested them, but made them up.
  public init(_ consumers: [Consumer]) throws(KeyRingError) {
    self.consumers = ContiguousArray(consumers)
    var entries: ContiguousArray<Entry> = []
    var names: ContiguousArray<ConsumerNames> = []
    names.reserveCapacity(consumers.count)
    for (index, consumer) in consumers.enumerated() {
      let name = QuotaKey(configured: "consumer", consumer.id)
      let tenant = consumer.tenant.map { QuotaKey(configured: "tenant", $0) }
      names.append(
        ConsumerNames(
          consumer: name, tenant: tenant, group: consumer.groups.first.map { QuotaKey(configured: "group", $0) },
          firstEntry: Int32(entries.count), owner: UInt16(truncatingIfNeeded: (tenant ?? name).low)))
      for (position, key) in consumer.keys.enumerated() {
        entries.append(
          Entry(
            digest: key.digest, notBefore: key.notBefore?.microseconds ?? .min,
            expires: key.expires?.microseconds ?? .max, consumer: Int32(index), key: Int32(position),
            isForever: key.notBefore == nil && key.expires == nil,
            keyName: QuotaKey(configured: "key", consumer.id, key.id)))
      }
    }
    var capacity = 8
    while capacity < entries.count * 2 { capacity *= 2 }
    var table = ContiguousArray<Int32>(repeating: -1, count: capacity)
    for (index, entry) in entries.enumerated() {
      var position = places.place(of: entry.digest.words.0, entry.digest.words.1) & (capacity - 1)
      while table[position] >= 0 {
        let other = entries[Int(table[position])]
        if other.digest.words.0 == entry.digest.words.0, other.digest.words.1 == entry.digest.words.1 {
          throw KeyRingError(
            first: (consumers[Int(other.consumer)].id, consumers[Int(other.consumer)].keys[Int(other.key)].id),
            second: (consumers[Int(entry.consumer)].id, consumers[Int(entry.consumer)].keys[Int(entry.key)].id))
        }
        position = (position + 1) & (capacity - 1)
      }
      table[position] = Int32(index)
    }
    self.entries = entries
    self.table = table
    self.names = names
    consumerTable = Self.table(of: names, places)
    plans =
      consumers.contains { $0.plan != nil }
      ? ContiguousArray(consumers.map { $0.plan.map { QuotaKey(plan: $0) } }) : []
  }

  private static func table(
    of names: ContiguousArray<ConsumerNames>, _ places: KeyedPlaces
  ) -> ContiguousArray<Int32> {
    var capacity = 8
    while capacity < names.count * 2 { capacity *= 2 }
    var table = ContiguousArray<Int32>(repeating: -1, count: capacity)
    for (index, name) in names.enumerated() {
      var place = places.place(of: name.consumer.low, name.consumer.high) & (capacity - 1)
      while table[place] >= 0 { place = (place + 1) & (capacity - 1) }
      table[place] = Int32(index)
    }
    return table
  }

  /// A ring without consumers.
  public init() {
    consumers = []
    entries = []
    table = ContiguousArray(repeating: -1, count: 8)
    names = []
    plans = []
    consumerTable = ContiguousArray(repeating: -1, count: 8)
  }

  /// The index of the consumer that limits know under this name; −1 where there is none.
  func index(of consumer: QuotaKey) -> Int32 {
    let mask = consumerTable.count &- 1
    var place = places.place(of: consumer.low, consumer.high) & mask
    while true {
      let index = consumerTable[place]
      if index < 0 || names[Int(index)].consumer == consumer { return index }
      place = (place &+ 1) & mask
    }
  }

  /// The index of the consumer of this name; −1 where there is none.
  public func index(ofConsumer id: String) -> Int32 { index(of: QuotaKey(configured: "consumer", id)) }

  /// Whether there is a consumer of this name.
  public func hasConsumer(_ id: String) -> Bool { index(ofConsumer: id) >= 0 }

  /// How many keys there are.
  public var keyCount: Int { entries.count }

  /// Whose key has this digest, at a moment.
  public func find(_ digest: Digest, at time: WallTime) -> KeyMatch {
    let entry = entry(of: digest)
    return entry < 0 ? .unknown : match(entry, at: time)
  }

  /// The index of the entry with this digest, or −1.
  ///
  /// The way through the table depends on the digest only. Who calls can choose keys, not their digests, so its duration tells
  /// him nothing about a stored one; whole digests are compared in constant time nevertheless. Who configures can choose
  /// digests, not where they lie: see ``KeyedPlaces``.
  func entry(of digest: Digest) -> Int32 {
    let mask = table.count &- 1
    var position = places.place(of: digest.words.0, digest.words.1) & mask
    while true {
      let index = table[position]
      if index < 0 || entries[Int(index)].digest == digest { return index }
      position = (position &+ 1) & mask
    }
  }

  /// What the entry at `index` stands for at a moment.
  @inline(__always)
  func match(_ index: Int32, at time: @autoclosure () -> WallTime) -> KeyMatch {
    let entry = entries[Int(index)]
    if entry.isForever { return .valid(consumer: entry.consumer, key: entry.key) }
    let time = time()
    if time.microseconds < entry.notBefore { return .notYetValid(consumer: entry.consumer, key: entry.key) }
    if time.microseconds >= entry.expires { return .expired(consumer: entry.consumer, key: entry.key) }
    return .valid(consumer: entry.consumer, key: entry.key)
  }

  /// What limits count the consumer at `index` under.
  @inlinable
  @inline(__always)
  func names(of index: Int32) -> ConsumerNames { names[Int(index)] }

  /// What the plan of the consumer at `index` is called; nil where it has none.
  public func plan(ofConsumer index: Int32) -> QuotaKey? { plans.isEmpty ? nil : plans[Int(index)] }

  /// See ``Services/owner(ofConsumer:)``.
  @inlinable
  @inline(__always)
  func owner(of index: Int32) -> UInt16 { names[Int(index)].owner }

  /// What limits count a consumer's key under.
  @inlinable
  @inline(__always)
  func name(ofKey key: Int32, of consumer: Int32) -> QuotaKey {
    entries[Int(names[Int(consumer)].firstEntry &+ key)].keyName
  }

  /// The place of a consumer's key among all.
  func place(ofKey key: Int32, of consumer: Int32) -> Int { Int(names[Int(consumer)].firstEntry &+ key) }
}

/// Places in tables for what somebody may have chosen: a process has its own, so that a tenant cannot choose digests or names
/// that lie side by side and make everybody's way long.
struct KeyedPlaces: Sendable {
  private let first: UInt64
  private let second: UInt64

  /// The process's places: the key is the one that the standard library hashes with.
  init() {
    func word(_ number: Int) -> UInt64 {
      var hasher = Hasher()
      hasher.combine(number)
      return UInt64(truncatingIfNeeded: hasher.finalize())
    }
    (first, second) = (word(1), word(2))
  }

  /// The place, in as many low bits as the table needs. Once folded, one key in some hundreds leaves neighbours together.
  @inline(__always)
  func place(of low: UInt64, _ high: UInt64) -> Int {
    let once = Self.fold(low ^ first, high ^ second)
    return Int(truncatingIfNeeded: Self.fold(once ^ second, 0x9e37_79b9_7f4a_7c15))
  }

  @inline(__always)
  private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let product = left.multipliedFullWidth(by: right)
    return product.high ^ product.low
  }
}

/// What a key stands for.
public enum KeyMatch: Equatable, Sendable {
  /// A valid key: indexes of its consumer and of the key among the consumer's.
  case valid(consumer: Int32, key: Int32)
  /// Known, but its time has not come.
  case notYetValid(consumer: Int32, key: Int32)
  /// Known, but its time is over.
  case expired(consumer: Int32, key: Int32)
  /// A valid key that the cluster has made, and its consumer: see ``Services/consumer(_:)``.
  case issued(consumer: Int32, key: KeyID)
  /// It has the form of a key that a cluster makes, and a wrong checksum.
  case mistyped
  /// Nobody's key.
  case unknown
}

/// Two keys are the same secret.
public struct KeyRingError: Error, Sendable {
  /// The consumer and the key that came first.
  public let first: (consumer: String, key: String)
  /// The consumer and the key that repeat it.
  public let second: (consumer: String, key: String)
}
