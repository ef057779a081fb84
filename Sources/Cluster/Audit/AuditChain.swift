import Crypto

/// What is wrong with a line of an audit log.
public enum AuditFinding: Equatable, Sendable {
  /// It is no line of an audit log.
  case malformed
  /// It is not as the cluster has signed it.
  case altered(sequence: Int64)
  /// Lines are missing before it: from the first number to the second.
  case missing(first: Int64, last: Int64)
  /// It stands out of order, or for the second time.
  case misplaced(sequence: Int64, expected: Int64)
  /// It is not the successor of the line before it, whose number would fit.
  case unlinked(sequence: Int64)
  /// The chain begins anew behind the line with this number: the store lost all that it had.
  case begunAnew(after: Int64)

  /// The finding as a sentence for people.
  public var description: String {
    switch self {
    case .malformed: "this is no line of an audit log"
    case .altered(let sequence): "line \(sequence) is not as it was signed: it was altered"
    case .missing(let first, let last) where first == last: "line \(first) is missing: it was removed"
    case .missing(let first, let last): "lines \(first) to \(last) are missing: they were removed"
    case .misplaced(let sequence, let expected): "line \(sequence) stands where line \(expected) belongs"
    case .unlinked(let sequence): "line \(sequence) does not follow from the line before it: one of them was replaced"
    case .begunAnew(let last):
      "behind line \(last) the chain begins anew: the store lost what it had, or lines were removed"
    }
  }
}

/// Follows an audit log line by line, and finds what was removed from it or altered.
public struct AuditChain: Sendable {
  /// The number of the first line, and of the last; 0 before there is one.
  public private(set) var (first, last): (Int64, Int64) = (0, 0)
  private let keys: [VerifyingKey]
  private var digest = ""

  /// A chain whose lines must be signed by one of `keys`.
  public init(keys: [VerifyingKey]) { self.keys = keys }

  /// The audit line in a line of a log, with whatever stands before it there; nil where there is none.
  public static func line(in line: [UInt8]) -> [UInt8]? {
    let mark = Array("{\"sequence\":".utf8)
    guard let start = line.firstIndex(of: mark[0]), line[start...].starts(with: mark) else { return nil }
    return Array(line[start...])
  }

  /// The number of an audit line; nil where it is none.
  public static func sequence(of line: [UInt8]) -> Int64? { AuditLine(line)?.place.sequence }

  /// Takes the next line; nil where it fits. A line that does not is believed as far as the next one is concerned, so that
  /// one thing wrong is found once.
  public mutating func take(_ bytes: [UInt8]) -> AuditFinding? {
    guard let line = AuditLine(bytes) else { return .malformed }
    let (before, known, sequence) = (last, digest, line.place.sequence)
    let isGood = keys.contains { ClusterSecrets.verifies(line.signed, line.signature, for: .audit, by: $0) }
    defer {
      if first == 0 { first = sequence }
      if sequence > before || sequence == 1 { (last, digest) = (sequence, line.digest) }
    }
    guard isGood else { return .altered(sequence: sequence) }
    if before == 0 { return nil }
    if sequence == 1, line.place.previous.isEmpty { return .begunAnew(after: before) }
    if sequence > before + 1 { return .missing(first: before + 1, last: sequence - 1) }
    if sequence <= before { return .misplaced(sequence: sequence, expected: before + 1) }
    return line.place.previous == known ? nil : .unlinked(sequence: sequence)
  }
}
