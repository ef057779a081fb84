import Core

/// What says which configuration is in force, since when, and by whom: small, signed, and linked to the one before.
public struct RevisionHead: Equatable, Sendable {
  /// Why there is a new one.
  public enum Cause: UInt8, CaseIterable, Sendable {
    /// The first node of a cluster brought its file along.
    case seeded = 1
    /// Somebody applied a configuration.
    case applied
    /// Somebody went back to an earlier one.
    case rolledBack
    /// A staged one has proved itself and goes to all nodes.
    case promoted
    /// The leader went back by itself: nodes refused, or a stage went badly.
    case reverted
    /// A failover of the store, or an emptied one, had lost revisions that a node still knew.
    case restored
    /// The cluster's secret was replaced; what it says is the same.
    case resealed

    /// The word for it in answers.
    public var word: String {
      switch self {
      case .seeded: "seeded"
      case .applied: "applied"
      case .rolledBack: "rolled back"
      case .promoted: "promoted"
      case .reverted: "reverted"
      case .restored: "restored"
      case .resealed: "resealed"
      }
    }
  }

  /// Its number; 1 for the first, each one higher by at least one.
  public var revision: Int64
  /// The epoch of the leader who published it.
  public var epoch: Int64
  /// The name of the body.
  public var body: RevisionName
  /// The name of the head before it.
  public var previous: RevisionName
  /// When it was made, by the leader's clock, in microseconds since 1970.
  public var time: Int64
  /// Why it was made.
  public var cause: Cause
  /// The revision that was in force on all nodes before it, to which the leader goes back; 0 for none.
  public var base: Int64 = 0
  /// The revision whose body it has; 0 where the body is new.
  public var origin: Int64 = 0
  /// Who made it: the name of the token.
  public var author: String
  /// Why, in the author's or the leader's words.
  public var message: String
  /// The nodes that it is for, in alphabetical order; empty for all of them.
  public var stage: [String] = []
  /// How long the stage lasts, in milliseconds.
  public var holdMilliseconds: Int64 = 0
  /// At how many nodes that refuse it the leader goes back.
  public var tolerance: Int64 = 1

  /// The longest author, in bytes.
  public static let longestAuthor = 128
  /// The longest message, in bytes.
  public static let longestMessage = 1000
  /// The most nodes of a stage.
  public static let longestStage = 64
  /// The longest hold: a day.
  public static let longestHold: Int64 = 86_400_000

  /// Whether the node of this name should run it.
  public func isFor(_ node: String) -> Bool { stage.isEmpty || stage.contains(node) }

  /// What is signed of it: exactly one way to write it.
  public var content: [UInt8] {
    var encoder = RevisionEncoder()
    encoder.mark("SLH1")
    encoder.number(revision)
    encoder.number(epoch)
    encoder.plain(body.bytes)
    encoder.plain(previous.bytes)
    encoder.number(time)
    encoder.number(cause.rawValue)
    encoder.number(base)
    encoder.number(origin)
    encoder.text(author)
    encoder.text(message)
    encoder.number(UInt16(stage.count))
    for node in stage { encoder.text(node) }
    encoder.number(holdMilliseconds)
    encoder.number(tolerance)
    return encoder.bytes
  }

  init?(_ decoder: inout RevisionDecoder) {
    guard decoder.mark("SLH1"), let revision = decoder.number(Int64.self), revision > 0,
      let epoch = decoder.number(Int64.self), epoch >= 0, let body = decoder.name(), let previous = decoder.name(),
      let time = decoder.number(Int64.self), let cause = decoder.number(UInt8.self).flatMap(Cause.init),
      let base = decoder.number(Int64.self), base >= 0,
      let origin = decoder.number(Int64.self), origin >= 0, let author = decoder.text(limit: Self.longestAuthor),
      let message = decoder.text(limit: Self.longestMessage), let count = decoder.number(UInt16.self),
      count <= Self.longestStage
    else { return nil }
    var stage: [String] = []
    for _ in 0..<count {
      guard let node = decoder.text(limit: 255), stage.last.map({ $0 < node }) ?? true else { return nil }
      stage.append(node)
    }
    guard let hold = decoder.number(Int64.self), (0...Self.longestHold).contains(hold),
      let tolerance = decoder.number(Int64.self), tolerance > 0
    else { return nil }
    self.init(
      revision: revision, epoch: epoch, body: body, previous: previous, time: time, cause: cause, author: author,
      message: message)
    (self.base, self.origin) = (base, origin)
    self.stage = stage
    holdMilliseconds = hold
    self.tolerance = tolerance
  }

  /// A head of these parts, for all nodes.
  init(
    revision: Int64, epoch: Int64, body: RevisionName, previous: RevisionName, time: Int64, cause: Cause,
    author: String,
    message: String
  ) {
    self.revision = revision
    self.epoch = epoch
    self.body = body
    self.previous = previous
    self.time = time
    self.cause = cause
    self.author = author
    self.message = message
  }
}

/// A head with the cluster's signature, as it was verified or made.
public struct SignedHead: Equatable, Sendable {
  /// The most bytes that it has.
  static let limit = 32 << 10
  private static let signatureBytes = 64

  /// What it says.
  public let head: RevisionHead
  /// What it was read from, signature and all.
  let bytes: [UInt8]
  /// The name of ``bytes``, by which the next one refers to it.
  public let name: RevisionName

  /// Signs `head`.
  init(_ head: RevisionHead, _ secrets: ClusterSecrets) {
    let content = head.content
    self.head = head
    bytes = content + secrets.sign(content, for: .head)
    name = RevisionName(of: bytes)
  }

  /// Reads and verifies a head.
  public init(_ bytes: [UInt8], _ secrets: ClusterSecrets) throws(RevisionFault) {
    guard bytes.count <= Self.limit else { throw .tooLarge }
    let end = bytes.count - Self.signatureBytes
    guard end > 0, secrets.verifies(Array(bytes[..<end]), Array(bytes[end...]), for: .head) else { throw .signature }
    var decoder = RevisionDecoder(Array(bytes[..<end]))
    guard let head = RevisionHead(&decoder), decoder.isAtEnd else { throw .malformed }
    self.head = head
    self.bytes = bytes
    name = RevisionName(of: bytes)
  }

  /// Whether this may come after `current`, for a node that has seen epochs up to `maxEpoch`.
  ///
  /// The next number must be linked to `current`. Only a leader of a later epoch may publish one that is not: then a
  /// failover of the store has lost revisions that this node still knew.
  func check(after current: SignedHead?, maxEpoch: Int64) throws(RevisionFault) {
    if let current {
      let isNext = head.revision == current.head.revision + 1
      if isNext, head.previous != current.name, head.epoch <= current.head.epoch { throw .chain }
      guard head.revision > current.head.revision else { throw .stale(current: current.head.revision) }
    }
    guard head.epoch >= maxEpoch else { throw .epoch(head.epoch, seen: maxEpoch) }
  }
}

/// Why something that was published, proposed or found on the disk is not used.
public enum RevisionFault: Error, Equatable, Sendable, CustomStringConvertible {
  /// More bytes than there may be.
  case tooLarge
  /// The store does not have it.
  case missing
  /// The bytes are not those that the head names.
  case digest
  /// Not signed with a secret of this cluster.
  case signature
  /// Not linked to the revision before.
  case chain
  /// Not newer than what is known.
  case stale(current: Int64)
  /// Published under an epoch that is over.
  case epoch(Int64, seen: Int64)
  /// Signed, but not what this version can read.
  case malformed
  /// Its secrets were sealed with a secret that this node does not have.
  case sealed
  /// The configuration has errors, the first of which is this.
  case configuration(String)

  /// The reason, a phrase.
  public var description: String {
    switch self {
    case .tooLarge: "it is larger than a revision can be"
    case .missing: "the store does not have its content"
    case .digest: "its content is not what its head names (SHA-256 differs)"
    case .signature: "it is not signed with this cluster's secret"
    case .chain: "it does not follow the revision before it"
    case .stale(let current): "it is not newer than revision \(current)"
    case .epoch(let epoch, let seen): "its leader's epoch \(epoch) is over, \(seen) has been seen"
    case .malformed: "it cannot be read by this version"
    case .sealed: "its secrets cannot be opened with this cluster's secret"
    case .configuration(let text): text
    }
  }
}
