import Core
import HTTP
import Pipeline

/// Admits or refuses by the client's address: 403 `address-denied`.
///
/// The smallest network that holds the address decides, whichever list it is in. An address in no network passes unless there
/// is a list of allowed ones. Needs nothing but memory, so there is no failure mode.
public final class IPFilter: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "ip-filter"
  /// Before anything is looked up.
  public static let phase = Phase.screen
  /// What it does.
  public static let summary = "Admits or refuses by the client's address."

  private let tree: AddressTree
  private let refusesUnlisted: Bool
  private let usesPeer: Bool

  /// Which address is judged.
  private enum Address: String, CaseIterable { case client, peer }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let format = OptionFormat("an address or a network", example: "10.0.0.0/8")
    let allowed = options.valueList("allow", format, "Networks that pass; with it, all others are refused.") {
      IPNetwork($0)
    }
    let denied = options.valueList("deny", format, "Networks that are refused.") { IPNetwork($0) }
    let address = options.choice(
      "address", default: Address.client,
      "Which address counts: the client's own as trusted proxies report it, or that of the connection.")
    var tree = AddressTree()
    for network in allowed { _ = tree.insert(network, .allow) }
    for (index, network) in denied.enumerated() where !tree.insert(network, .deny) {
      options.fail("\(network) is allowed already", at: "deny", element: index, fix: "keep it in one of the lists")
    }
    if !options.has("allow") && !options.has("deny") && !options.isDescribing {
      options.fail("there is nothing to filter", at: "allow", fix: "give allow or deny")
    }
    self.tree = tree
    refusesUnlisted = options.has("allow")
    usesPeer = address == .peer
  }

  /// Looks the address up.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    switch tree.find(usesPeer ? exchange.peer : exchange.client) {
    case .allow: return .next
    case .none where !refusesUnlisted: return .next
    case .none, .deny: return .refuse(Refusal(ProblemCatalogue.addressDenied))
    }
  }
}
