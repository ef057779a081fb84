import HTTP
import Pipeline

/// Keeps callers of other tenants, and known ones of none, off the routes of a tenant: 403 `other-tenant`.
///
/// The configuration puts it into the chain of every route that belongs to a tenant, behind whatever says who calls and
/// before anything is counted. The list of policies does not hold it, so that no file can name it. Who is not known
/// passes: whether a route takes such callers, its own policies say.
/// The answer does not tell whose the route is. Needs nothing but memory, so there is no failure mode.
final class TenantGate: Policy, RequestHook {
  /// No configuration uses it: the list of policies does not hold this one.
  static let name = "tenant-gate"
  /// Behind all others of the phase.
  static let phase = Phase.identify
  /// What it does.
  static let summary = "Keeps callers of other tenants off the routes of one."

  /// Whose route it is.
  let tenant: String

  /// The gate of a tenant.
  init(tenant: String) { self.tenant = tenant }

  /// Reads the options.
  init(_ options: inout OptionReader) { tenant = options.string("tenant", "Whose route it is.") }

  /// Compares: nothing that says who calls may speak of another tenant, and something must speak of this one.
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard exchange.isIdentified else { return .next }
    var isKnown = false
    if exchange.consumer >= 0 {
      guard services.consumer(exchange.consumer).tenant == tenant else { return Self.refusal }
      isKnown = true
    }
    if let other = exchange.identity?.tenant {
      guard other == tenant else { return Self.refusal }
      isKnown = true
    }
    return isKnown ? .next : Self.refusal
  }

  private static var refusal: Verdict { .refuse(Refusal(ProblemCatalogue.otherTenant)) }
}
