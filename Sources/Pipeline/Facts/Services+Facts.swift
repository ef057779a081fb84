import Core
import Crypto

extension Services {
  /// The number of the first consumer that the configuration does not know; numbers below are indexes of
  /// ``KeyRing/consumers``.
  public static var firstOwnConsumer: Int32 { 1 << 30 }

  // MARK: Keys that the cluster has made

  /// Whose key a text is that has the form of the cluster's and this id. The way to the id's entry may depend on the id,
  /// which is no secret; digests are compared in constant time.
  @inline(never)
  func holder(ofIssued key: RawSpan, _ id: KeyID, _ facts: LoopFacts) -> KeyMatch {
    // What the cluster knows of the id comes from memory while the text is hashed: both take as long.
    let location = facts.keys.with { $0.locate(id) }
    let fingerprint = keyCache.fingerprint(of: key)
    let known = keyCache.find(fingerprint)
    if known >= 0 { return keyRing.match(known, at: world.wallTime) }
    let changes = facts.keys.with { $0.secretChanges }
    if known == KeyCache.issuedMark, secretChanges == changes {
      // Whether it is valid is asked each time: only the text's digest need not be computed again.
      return facts.keys.with { $0.entry(at: location) }.map { match(id, $0, facts) } ?? .unknown
    }
    let digest = hasher.digest(of: key)
    let configured = keyRing.entry(of: digest)
    if configured >= 0 {
      keyCache.remember(fingerprint, configured)
      return keyRing.match(configured, at: world.wallTime)
    }
    guard let entry = facts.keys.with({ $0.entry(at: location) }), entry.digest == digest else {
      // Only now does it matter whether it could be a key at all.
      return KeyText.read(key) == .mistyped ? .mistyped : .unknown
    }
    if secretChanges != changes {
      keyCache.removeAll()
      secretChanges = changes
    }
    keyCache.remember(fingerprint, KeyCache.issuedMark)
    return match(id, entry, facts)
  }

  private func match(_ id: KeyID, _ entry: IssuedKeys.Entry, _ facts: LoopFacts) -> KeyMatch {
    guard entry.isValid(at: UInt32(clamping: world.wallTime.seconds)) else { return .unknown }
    if facts.keys.with({ $0.consumers.isOwn(entry.consumer) }) {
      return .issued(consumer: Self.firstOwnConsumer + entry.consumer, key: id)
    }
    let name = facts.keys.with {
      $0.consumers.withName(of: entry.consumer) { QuotaKey(configured: "consumer", span: $0) }
    }
    let index = keyRing.index(of: name)
    return index < 0 ? .unknown : .issued(consumer: index, key: id)
  }

  // MARK: Consumers of either kind

  /// Who a consumer is, by the number that a ``KeyMatch`` or an exchange has. Costs some references and, for one that the
  /// configuration does not know, allocations.
  public func consumer(_ number: Int32) -> Consumer {
    guard number >= Self.firstOwnConsumer, let facts else { return keyRing.consumers[Int(number)] }
    let known = facts.view.keys.consumers.consumer(number - Self.firstOwnConsumer)
    return Consumer(id: known.id, tenant: known.own?.tenant, groups: known.own?.groups ?? [], plan: known.own?.plan)
  }

  /// The number of a consumer that exists through keys of the cluster alone; nil where there is none of this name.
  public func ownConsumer(named name: String) -> Int32? {
    facts?.view.keys.consumers.own(named: name).map { Self.firstOwnConsumer + $0 }
  }

  /// The number of a key of the cluster by its id, where it is this consumer's; nil for any other.
  public func issuedKey(_ id: String, of consumer: Int32) -> UInt64? {
    guard let id = KeyID(id), let key = facts?.view.keys.key(id) else { return nil }
    return key.consumer.id == self.consumer(consumer).id ? id.number : nil
  }

  /// What a key is called, by the numbers that an exchange has; nil where it has none.
  public func keyName(_ key: Int32, of consumer: Int32, issued: UInt64) -> String? {
    if key == Exchange.issuedKeyMark { return KeyID(number: issued)?.text }
    return key >= 0 && consumer >= 0 ? keyRing.consumers[Int(consumer)].keys[Int(key)].id : nil
  }

  /// What limits count a consumer under that the configuration does not know, its tenant and its first group.
  func names(ofOwn number: Int32) -> (consumer: QuotaKey, tenant: QuotaKey?, group: QuotaKey?) {
    guard let consumers = facts?.view.keys.consumers else {
      preconditionFailure("without facts nobody has such a number")
    }
    let index = number - Self.firstOwnConsumer
    let profile = consumers.profile(of: index)
    let name = consumers.withName(of: index) { QuotaKey(configured: "consumer", span: $0) }
    return (name, profile.tenantKey, profile.groupKey)
  }

  /// What the plan of a consumer is called that the configuration does not know; nil for none.
  func plan(ofOwn number: Int32) -> QuotaKey? {
    facts?.view.keys.consumers.profile(of: number - Self.firstOwnConsumer).planKey
  }

  /// See ``owner(ofConsumer:)``.
  @usableFromInline
  func owner(ofOwn number: Int32) -> UInt16 {
    let names = names(ofOwn: number)
    return UInt16(truncatingIfNeeded: (names.tenant ?? names.consumer).low)
  }

  // MARK: Revocations

  /// Whether whoever an exchange was begun for may go on: the key, where the cluster has made it, is valid still, and
  /// nothing about the caller is revoked.
  public func mayGoOn(_ exchange: inout Exchange) -> Bool {
    guard let facts, exchange.consumer >= 0 || exchange.identity != nil else { return true }
    if exchange.key == Exchange.issuedKeyMark, isValid(issuedKey: exchange.issuedKey) != true { return false }
    return !facts.hasRevocations || !facts.holds(marks(&exchange, facts), at: world.wallTime)
  }

  /// Whether a key that the cluster has made is valid now; nil for one that this node does not know.
  public func isValid(issuedKey number: UInt64) -> Bool? {
    guard let facts, let id = KeyID(number: number) else { return nil }
    let now = UInt32(clamping: world.wallTime.seconds)
    return facts.keys.with { $0.entry(of: id) }?.isValid(at: now)
  }

  /// Whether somebody is revoked who need not be the caller, as far as this node knows.
  public func isRevoked(_ identity: Identity) -> Bool {
    guard let facts, facts.hasRevocations, let marks = identity.revocationMarks else { return false }
    return facts.holds(marks, at: world.wallTime)
  }

  /// What the caller of an exchange, who is known, can be revoked by; `facts` are this object's own.
  public func marks(_ exchange: inout Exchange, _ facts: LoopFacts) -> RevocationMarks {
    guard var marks = exchange.identity?.revocationMarks else { return keyMarks(&exchange, facts) }
    if exchange.key != Exchange.identityMark {
      marks.add(keyMarks(&exchange, facts))
    } else if exchange.consumer >= 0 {
      add(consumer: exchange.consumer, to: &marks, facts)
    }
    return marks
  }

  /// The marks of whoever showed a key.
  private func keyMarks(_ exchange: inout Exchange, _ facts: LoopFacts) -> RevocationMarks {
    let number = exchange.consumer
    var result = RevocationMarks(issued: 0)
    if exchange.key == Exchange.issuedKeyMark, let id = KeyID(number: exchange.issuedKey) {
      result.issued = facts.view.keys.entry(of: id)?.created ?? 0
      result.add(RevocationMark(.key, id.text, key: facts.markKey))
    } else if exchange.key >= 0 {
      result.add(marks.key(exchange.key, of: number, keyRing, facts.markKey))
    }
    if number >= 0 { add(consumer: number, to: &result, facts) }
    return result
  }

  private func add(consumer number: Int32, to result: inout RevocationMarks, _ facts: LoopFacts) {
    let consumer =
      number >= Self.firstOwnConsumer
      ? MarkCache.Consumer(self.consumer(number), facts.markKey) : marks.consumer(number, keyRing, facts.markKey)
    result.add(consumer.subject)
    result.add(consumer.client)
    if let tenant = consumer.tenant { result.add(tenant) }
  }
}

/// The marks of what a configuration names, each made when it is first asked for.
struct MarkCache {
  struct Consumer: BitwiseCopyable {
    let subject: RevocationMark
    let client: RevocationMark
    let tenant: RevocationMark?

    init(_ consumer: Pipeline.Consumer, _ key: SipKey) {
      subject = RevocationMark(.subject, consumer.id, key: key)
      client = RevocationMark(.client, consumer.id, key: key)
      tenant = consumer.tenant.map { RevocationMark(.tenant, $0, key: key) }
    }
  }

  private var consumers: ContiguousArray<Consumer?> = []
  private var keys: ContiguousArray<RevocationMark?> = []

  mutating func consumer(_ index: Int32, _ ring: KeyRing, _ key: SipKey) -> Consumer {
    if consumers.isEmpty { consumers = ContiguousArray(repeating: nil, count: ring.consumers.count) }
    if let known = consumers[Int(index)] { return known }
    let made = Consumer(ring.consumers[Int(index)], key)
    consumers[Int(index)] = made
    return made
  }

  mutating func key(_ index: Int32, of consumer: Int32, _ ring: KeyRing, _ key: SipKey) -> RevocationMark {
    if keys.isEmpty { keys = ContiguousArray(repeating: nil, count: ring.keyCount) }
    let place = ring.place(ofKey: index, of: consumer)
    if let known = keys[place] { return known }
    let holder = ring.consumers[Int(consumer)]
    let made = RevocationMark(.key, "\(holder.id)/\(holder.keys[Int(index)].id)", key: key)
    keys[place] = made
    return made
  }
}
