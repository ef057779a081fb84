import HTTP
import Pipeline

/// Refuses request bodies beyond a size: 413 `body-too-large`.
///
/// A declared length is judged here; a chunked body is counted by the flow against ``Exchange/bodyLimit`` as it streams.
/// The route's own limit holds as well: the smaller one wins. There is nothing to fail open or closed.
public final class BodyLimit: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "body-limit"
  /// Before anything is looked up.
  public static let phase = Phase.screen
  /// What it does.
  public static let summary = "Refuses request bodies beyond a size."

  private let limit: Int64

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    limit = options.size("limit", "The most bytes that a request body may have.")
  }

  /// Refuses a declared length beyond the limit, and lowers the limit for what streams.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.bodyLimit = min(exchange.bodyLimit, limit)
    if case .length(let length) = request.framing, length > exchange.bodyLimit {
      return .refuse(Refusal(ProblemCatalogue.bodyTooLarge))
    }
    return .next
  }
}
