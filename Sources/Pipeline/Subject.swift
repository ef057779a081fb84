import Core

/// Who or what a limit counts.
public enum Subject: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  /// The identified consumer.
  case consumer
  /// The key that the consumer showed.
  case key
  /// The consumer's tenant.
  case tenant
  /// The first of the consumer's groups; all members share the limit.
  case group
  /// The route; all its callers share the limit.
  case route
  /// The client's address, and for IPv6 its network of 64 bits, since one host has as many addresses as it likes there.
  case address
}

/// What an exchange can be counted by: a few words, since to lend the exchange itself copies it.
public struct Caller: Sendable {
  /// See ``Exchange/consumer``.
  public let consumer: Int32
  /// See ``Exchange/key``.
  public let key: Int32
  /// See ``Exchange/issuedKey``.
  public let issuedKey: UInt64
  /// See ``Exchange/route``.
  public let route: Int32
  /// See ``Exchange/client``.
  public let client: IPAddress
  /// See ``Exchange/identity``.
  public let identity: Identity?

  /// Who sent the request of an exchange.
  @inlinable
  @inline(__always)
  public init(_ exchange: inout Exchange) {
    consumer = exchange.consumer
    key = exchange.key
    issuedKey = exchange.issuedKey
    route = exchange.route
    client = exchange.client
    identity = exchange.identity
  }

  /// Somebody of whom this is known; −1 stands for nothing, as in an exchange.
  public init(
    consumer: Int32, key: Int32, issuedKey: UInt64 = 0, route: Int32, client: IPAddress, identity: Identity? = nil
  ) {
    self.consumer = consumer
    self.key = key
    self.issuedKey = issuedKey
    self.route = route
    self.client = client
    self.identity = identity
  }
}

extension Services {
  /// What a text that a client chose is counted under.
  @inline(__always)
  public func key(ofChosen text: RawSpan) -> QuotaKey { QuotaKey(chosen: text, key: subjectKey) }

  /// What the network of an address is counted under, as ``FailureBook`` has them.
  public func key(ofNetwork address: IPAddress) -> QuotaKey { QuotaKey(FailureBook.key(address), key: subjectKey) }

  /// What `caller` is counted under. A caller who lacks what is counted (no consumer, no tenant) is counted by address,
  /// so that nobody escapes a limit by staying anonymous, and nobody uses up what others share.
  public func key(of subject: Subject, _ caller: Caller) -> QuotaKey {
    let consumer = caller.consumer
    if consumer >= Self.firstOwnConsumer || caller.key == Exchange.issuedKeyMark {
      if let key = key(ofIssued: subject, caller) { return key }
    }
    if consumer < 0 || subject == .key, let key = caller.identity?.names.key(of: subject) { return key }
    switch subject {
    case .route: if let key = routes.key(of: caller.route) { return key }
    case .address: break
    case .consumer: if isConfigured(consumer) { return keyRing.names(of: consumer).consumer }
    case .tenant: if isConfigured(consumer), let key = keyRing.names(of: consumer).tenant { return key }
    case .group: if isConfigured(consumer), let key = keyRing.names(of: consumer).group { return key }
    case .key: if isConfigured(consumer) && caller.key >= 0 { return keyRing.name(ofKey: caller.key, of: consumer) }
    }
    let address = caller.client
    let network = address.isV4 ? address : IPAddress(high: address.high, low: 0)
    return QuotaKey(network, key: subjectKey)
  }

  /// Whether a consumer is one of ``keyRing``.
  @inlinable
  @inline(__always)
  func isConfigured(_ consumer: Int32) -> Bool {
    UInt32(bitPattern: consumer) < UInt32(bitPattern: Self.firstOwnConsumer)
  }

  /// The same for a caller with a key that the cluster has made; nil where it lacks what is counted, or has it from the
  /// configuration.
  private func key(ofIssued subject: Subject, _ caller: Caller) -> QuotaKey? {
    if subject == .key, caller.key == Exchange.issuedKeyMark {
      let hash = QuotaKey.configuredKey.hash(0x6465_7573_7369, caller.issuedKey)
      return QuotaKey(low: hash.low, high: hash.high)
    }
    guard caller.consumer >= Self.firstOwnConsumer else { return nil }
    let names = names(ofOwn: caller.consumer)
    switch subject {
    case .consumer: return names.consumer
    case .tenant: return names.tenant
    case .group: return names.group
    case .route, .address, .key: return nil
    }
  }

  /// Whether ``key(of:_:)-(_,Caller)`` does without the caller's address.
  public func isNamed(_ subject: Subject, _ caller: Caller) -> Bool {
    if caller.consumer < 0, caller.identity?.names.key(of: subject) != nil { return true }
    return switch subject {
    case .route: routes.key(of: caller.route) != nil
    case .address: false
    case .consumer: caller.consumer >= 0
    case .tenant:
      isConfigured(caller.consumer)
        ? keyRing.names(of: caller.consumer).tenant != nil : key(ofIssued: .tenant, caller) != nil
    case .group:
      isConfigured(caller.consumer)
        ? keyRing.names(of: caller.consumer).group != nil : key(ofIssued: .group, caller) != nil
    case .key: caller.consumer >= 0 && caller.key != -1
    }
  }

  /// What the plan of `caller` is called: the one of its consumer, and where that has none, the one that its identity names.
  /// Nil for none.
  public func plan(of caller: Caller) -> QuotaKey? {
    let consumer = caller.consumer
    if isConfigured(consumer) {
      if let plan = keyRing.plan(ofConsumer: consumer) { return plan }
    } else if consumer >= Self.firstOwnConsumer, let plan = plan(ofOwn: consumer) {
      return plan
    }
    return caller.identity?.names.plan
  }

  /// With what the counters of a consumer lie together in a shared store: its tenant, or itself where it has none. Nil for
  /// nobody.
  @inlinable
  @inline(__always)
  public func owner(ofConsumer consumer: Int32) -> UInt16? {
    if isConfigured(consumer) { return keyRing.owner(of: consumer) }
    return consumer >= 0 ? owner(ofOwn: consumer) : nil
  }

  /// The same for whoever sent the request of an exchange; quick for those who showed a key.
  @inlinable
  @inline(__always)
  public func key(of subject: Subject, _ exchange: inout Exchange) -> QuotaKey {
    let consumer = exchange.consumer
    if isConfigured(consumer) {
      if subject == .consumer { return keyRing.names(of: consumer).consumer }
      if subject == .key && exchange.key >= 0 { return keyRing.name(ofKey: exchange.key, of: consumer) }
    }
    return key(of: subject, Caller(&exchange))
  }
}
