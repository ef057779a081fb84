import Core
import HTTP
import Pipeline

/// Says who may open WebSocket connections (RFC 6455) and what may pass on them.
///
/// Pages of other origins than the listed ones are refused with 403 `origin-denied`: browsers do not keep a page from
/// opening such a connection, cookies included. Who sends no Origin is no page, and passes. A message that is too long, as sent
/// and over all its frames, ends the connection with Close 1009, silence with 1001. Requests that ask for no WebSocket
/// are not concerned. Needs nothing but memory, so there is no failure mode.
public final class WebSocketLimits: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "websocket"
  /// Before anything is looked up.
  public static let phase = Phase.screen
  /// What it does.
  public static let summary = "Says which pages may open WebSocket connections, and how long messages may be."

  private let origins: OriginList?
  private let messageLimit: Int64
  private let idle: Int64

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let originFormat = OptionFormat("an origin", example: "https://app.example.com")
    let patterns = options.valueList(
      "origins", originFormat,
      "Origins whose pages may connect: \"https://app.example.com\", \"https://*.example.com\"; left out, all may."
    ) { OriginList.isPattern($0) ? $0 : nil }
    origins = patterns.isEmpty ? nil : OriginList(patterns)
    messageLimit = options.size("maxMessage", default: 1 << 20, "The most bytes of a message, in either direction.")
    let idle = options.duration(
      "idleTimeout", default: .zero, in: .zero...(.seconds(86_400)),
      "How long a connection may be silent in both directions; 0: as timeouts.tunnel of the node says.")
    self.idle = idle.wholeNanoseconds
  }

  /// Looks at who asks, and notes what holds for the connection.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard request.upgrade != nil else { return .next }
    exchange.messageLimit = messageLimit
    exchange.tunnelIdle = idle
    if let origins, let origin = request.firstIndex(of: .origin), !origins.allows(request.value(of: origin)) {
      return .refuse(Refusal(ProblemCatalogue.originDenied))
    }
    return .next
  }
}
