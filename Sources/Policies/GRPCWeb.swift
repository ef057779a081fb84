import HTTP
import Pipeline

/// Lets pages make calls of gRPC: translates gRPC-Web, in its binary form and as text, on the way to the upstream and back.
///
/// A POST of the type `application/grpc-web` or `application/grpc-web-text` goes on as `application/grpc`; the trailers of
/// the answer come back as its last message. Everything else passes as it is: calls of gRPC itself, preflights, which are the
/// business of `cors`, and answers that are none of gRPC. Refusals of such calls are gRPC-Web as well, but for those that come
/// before the route is known. A text that is not Base64 is refused with 400 `malformed-encoding`. There is nothing to fail open
/// or closed.
public final class GRPCWeb: Policy, RequestHook, ResponseHook {
  /// The name in the configuration.
  public static let name = "grpc-web"
  /// Before anything may refuse, so that refusals can be read.
  public static let phase = Phase.screen
  /// What it does.
  public static let summary =
    "Lets pages make calls of gRPC: translates gRPC-Web on the way to the upstream and back."

  /// There is nothing to choose.
  public init(_ options: inout OptionReader) {}

  /// Makes a call of gRPC of one of gRPC-Web.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard request.method == .post, let type = request.firstIndex(of: .contentType) else { return .next }
    let accept = request.firstIndex(of: .accept)
    let wanted = request.bytes(accept.map { request.field($0).valueRange } ?? .empty)
    guard let call = GRPCWebCall(contentType: request.value(of: type), accept: wanted) else { return .next }
    exchange.webCall = call
    request.dropAll(.contentType)
    let fields = exchange.requestFields
    fields.append("Content-Type: ")
    call.appendRequestType(to: fields)
    fields.append("\r\nTE: trailers\r\n")
    return .next
  }

  /// Makes an answer of gRPC-Web of one of gRPC; one without messages has its status in its head already.
  public func onResponse(_ exchange: inout Exchange, _ response: ResponseHead, _ services: Services) {
    guard let call = exchange.webCall else { return }
    let framing = response.framing(for: .post)
    let isEmpty = framing == .length(0) || framing == .none
    guard let type = response.firstIndex(of: .contentType), GRPC.isCall(contentType: response.value(of: type)),
      isEmpty || framing == .chunked
    else {
      exchange.webCall = nil
      return
    }
    response.dropAll(.contentType)
    exchange.responseFields.append("Content-Type: ")
    call.appendResponseType(to: exchange.responseFields)
    exchange.responseFields.append("\r\n")
    if isEmpty { exchange.webCall = nil }
  }
}
