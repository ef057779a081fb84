import Cluster
import Core
import HTTP

/// What a change was about, for the audit log; never a secret.
public struct AdminChange: Sendable {
  /// What was changed: a revision, a key, a name.
  public var target: String
  /// What was in force before.
  public var before: String
  /// What is in force now.
  public var after: String
  /// Why, as whoever asked for it says.
  public var reason: String

  /// A change of `target`.
  public init(_ target: String, before: String = "", after: String = "", reason: String = "") {
    self.target = target
    self.before = before
    self.after = after
    self.reason = reason
  }
}

/// Sees to it that every request to change something is in the audit log, however it ended.
struct AdminAudit {
  /// Nanoseconds between entries about callers whom nobody recognised: they must not push others out of the log.
  private static let strangerPause: Int64 = 1_000_000_000

  private let record: @Sendable (AuditEntry) -> Void
  /// Refusals of strangers that are not in the log yet, as one entry.
  private var strangers: AuditEntry?
  /// When the next entry about strangers may be written.
  private(set) var nextDue = Instant.never
  private var lastWritten: Instant?

  init(_ record: @escaping @Sendable (AuditEntry) -> Void) { self.record = record }

  /// Notes how a request ended, if it was one to change something.
  mutating func note(_ request: AdminRequest, _ response: AdminResponse, now: Instant) {
    guard !request.method.isSafe else { return }
    var entry = AuditEntry(
      actor: request.caller?.name ?? "", action: request.operation ?? "\(request.method) \(request.path)".lowercased())
    entry.role = request.caller?.role.rawValue ?? ""
    entry.tenant = request.caller?.tenant ?? ""
    entry.decision = request.decision.text
    if let change = response.change {
      (entry.target, entry.before, entry.after) = (change.target, change.before, change.after)
      entry.reason = change.reason
    } else {
      entry.target = request.parameters.sorted { $0.key < $1.key }.map(\.value).joined(separator: " ")
    }
    switch response.status {
    case 504: entry.outcome = .unanswered
    case 400...:
      entry.outcome = .refused
      entry.reason = response.problemCode ?? "\(response.status)"
    default: break
    }
    guard entry.actor.isEmpty else { return record(entry) }
    entry.count += strangers?.count ?? 0
    strangers = entry
    nextDue = lastWritten.map { max(now, $0.advanced(byNanoseconds: Self.strangerPause)) } ?? now
    advance(now)
  }

  /// Writes what has waited long enough.
  mutating func advance(_ now: Instant) {
    guard nextDue <= now, let entry = strangers else { return }
    strangers = nil
    lastWritten = now
    nextDue = .never
    record(entry)
  }
}
