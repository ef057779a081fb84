import Core
import Crypto

/// What policies borrow from the node: one object a loop and blueprint. Not thread-safe.
public final class Services {
  /// The loop's clock and randomness.
  public let world: any World
  /// Who decides limits.
  public let quota: any Quota
  /// The consumers and their keys.
  public let keyRing: KeyRing
  /// The routes' names, by index.
  public let routes: RouteNames
  /// The loop's own hasher.
  public let hasher: SHA256
  /// What the node is called where it says that it has answered.
  public let nodeName: String
  /// What is revoked, and the keys that the cluster has made; nil where the node is in no cluster that agrees on such things.
  public let facts: LoopFacts?
  /// Who fetches for policies; nil where nothing is fetched.
  public let fetches: FetchDesk?
  /// The keys of issuers; nil where none are fetched.
  public let issuers: IssuerBook?
  /// Who checks passwords; nil where nobody does.
  public let passwords: PasswordDesk?
  /// Who asks for records that nodes share; nil where nobody does.
  public let records: RecordDesk?
  /// What is hidden and signed with.
  public let secrets: NodeSecrets
  /// How often callers have asked this loop about themselves.
  public var inquiries = CallerPace()

  /// Which addresses have failed to prove who they are.
  public var failures = FailureBook()
  /// Where the parts of providers of logins are.
  public var providers = ProviderBook()
  /// Tokens that were found good under this blueprint. Only good tokens come in, so that nobody without one displaces anybody;
  /// when a token is over, which keys its issuer has, and whether it is revoked, is asked each time.
  public let tokens = DigestCache<VerifiedToken>(capacity: VerifiedToken.cacheCapacity)
  /// What headers of tokens say that were read lately.
  public let tokenHeaders = TokenHeaders()
  /// Tokens that servers have said to be good.
  public let introspections = DigestCache<IntrospectedToken>(capacity: IntrospectedToken.cacheCapacity)
  /// Tokens that servers have said not to be good, or that are not good for a policy.
  public let rejections = DigestCache<RejectedToken>(capacity: RejectedToken.cacheCapacity)
  /// Answers of services that let requests pass.
  public let permissions = DigestCache<ServiceAnswer>(capacity: ServiceAnswer.cacheCapacity)
  /// Answers of services that do not.
  public let denials = DigestCache<ServiceAnswer>(capacity: ServiceAnswer.cacheCapacity)
  /// Tokens of the gateway's own for upstreams.
  public let upstreamTokens = UpstreamTokens()
  /// What tokens of callers were exchanged for, by their digests; with a token each some KiB.
  public let exchangedTokens = DigestCache<ExchangedToken>(capacity: 8_192)
  /// Tokens that tell upstreams who calls, by the digests of what they say.
  public let identityTokens = DigestCache<SignedToken>(capacity: 8_192)
  /// What ``signer(for:)`` and ``formerSigner(for:)`` have made, by their purposes, which are few.
  var signers: [String: (present: TokenSigner, former: TokenSigner?)] = [:]
  /// Names and passwords that were checked under this blueprint.
  public let credentials = CredentialCache()

  /// Keys by which clients have proved lately that tokens are theirs.
  public let proofKeys = ProofKeys()

  let keyCache: KeyCache
  private var secretKeys: [String: [UInt8]] = [:]
  /// The marks of what ``keyRing`` names, and which ids were known under other secrets when ``keyCache`` was filled.
  var marks = MarkCache()
  var secretChanges: UInt32 = 0
  /// The turn for which ``civilTime(now:)`` was last asked, and its answer.
  private var turn = Instant(nanoseconds: .min)
  private var civilTimeOfTurn = WallTime(microseconds: 0)
  let subjectKey: SipKey

  /// The services of one loop under one blueprint; `quota` and `hasher` may outlive the blueprint.
  public init(
    world: any World, quota: any Quota, keyRing: KeyRing, routes: RouteNames, hasher: SHA256, nodeName: String = "",
    facts: LoopFacts? = nil, fetches: FetchDesk? = nil, issuers: IssuerBook? = nil,
    passwords: PasswordDesk? = nil, records: RecordDesk? = nil,
    secrets: NodeSecrets = NodeSecrets(secret: [])
  ) {
    self.world = world
    self.quota = quota
    self.keyRing = keyRing
    self.routes = routes
    self.hasher = hasher
    self.nodeName = nodeName
    self.facts = facts
    (self.fetches, self.issuers, self.passwords, self.secrets) = (fetches, issuers, passwords, secrets)
    self.records = records
    subjectKey = quota.subjectKey
    keyCache = KeyCache(keyCount: facts == nil ? keyRing.keyCount : .max, key: subjectKey)
  }

  /// The key of 32 bytes for a purpose, of which there are few; see ``NodeSecrets/key(for:)``.
  public func secretKey(for purpose: String) -> [UInt8] {
    if let key = secretKeys[purpose] { return key }
    let key = secrets.key(for: purpose)
    secretKeys[purpose] = key
    return key
  }

  /// The civil time by which limits are cut, at ``World/now``. Clocks are read once a turn of the loop, so the quota is
  /// asked once a turn.
  @inline(__always)
  public func civilTime(now: Instant) -> WallTime {
    now == turn ? civilTimeOfTurn : askCivilTime(now)
  }

  @inline(never)
  private func askCivilTime(_ now: Instant) -> WallTime {
    turn = now
    civilTimeOfTurn = quota.civilTime(now: now, wall: world.wallTime)
    return civilTimeOfTurn
  }

  /// Whose key this text is, at the present moment. About 100 instructions for a key that this loop has seen before, a
  /// SHA-256 more for any other.
  public func holder(of key: RawSpan) -> KeyMatch {
    if key.byteCount == KeyText.byteCount, let facts, let id = KeyText.id(in: key) {
      return holder(ofIssued: key, id, facts)
    }
    guard key.byteCount <= KeyCache.longestText else { return holder(ofUnseen: key, nil) }
    let fingerprint = keyCache.fingerprint(of: key)
    let known = keyCache.find(fingerprint)
    return known >= 0 ? keyRing.match(known, at: world.wallTime) : holder(ofUnseen: key, fingerprint)
  }

  @inline(never)
  private func holder(ofUnseen key: RawSpan, _ fingerprint: KeyCache.Fingerprint?) -> KeyMatch {
    let entry = keyRing.entry(of: hasher.digest(of: key))
    guard entry >= 0 else { return .unknown }
    if let fingerprint { keyCache.remember(fingerprint, entry) }
    return keyRing.match(entry, at: world.wallTime)
  }
}

/// The names of all routes, in the order of the blueprint.
public struct RouteNames: Sendable {
  private let texts: ContiguousArray<[UInt8]>
  private let keys: ContiguousArray<QuotaKey>

  /// Names by index.
  public init(_ names: [String]) {
    texts = ContiguousArray(names.map { Array($0.utf8) })
    keys = ContiguousArray(names.map { QuotaKey(configured: "route", $0) })
  }

  /// The name of the route at `index`, empty where there is none.
  public subscript(index: Int32) -> [UInt8] { index >= 0 && Int(index) < texts.count ? texts[Int(index)] : [] }

  /// What limits count the route at `index` under; nil where there is none.
  public func key(of index: Int32) -> QuotaKey? { index >= 0 && Int(index) < keys.count ? keys[Int(index)] : nil }
}
