// Calls of gRPC: they are requests like all others, but their callers read refusals in fields of gRPC, and may say how long
// they will wait.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// Notes whether a request over HTTP/2 is a call, and its deadline.
  mutating func noteCall(_ exchange: Int32) {
    let request = request
    guard let type = request.firstIndex(of: .contentType), GRPC.isCall(contentType: request.value(of: type)) else {
      return
    }
    exchanges[exchange].isCall = true
    // Of the connection in HTTP/1.1, but servers of calls want to hear it.
    exchanges[exchange].exchange.requestFields.append("TE: trailers\r\n")
    let deadline = deadline(ofCall: exchange)
    guard deadline != .never else { return }
    exchanges[exchange].callDeadline = deadline
    exchanges[exchange].totalDeadline = deadline
    clientTimers.schedule(exchanges[exchange].client, at: deadline)
  }

  /// When the caller gives up; ``Instant/never`` where the request does not say.
  func deadline(ofCall exchange: Int32) -> Instant {
    guard let index = request.firstIndex(named: RawSpan(Self.timeoutField)),
      let timeout = GRPC.timeout(request.value(of: index))
    else { return .never }
    return exchanges[exchange].exchange.startedAt.advanced(byNanoseconds: timeout)
  }

  /// Whether the time is over that its caller gave a call: that says nothing of the upstream.
  func isGivenUp(_ exchange: Int32) -> Bool {
    min(exchanges[exchange].callDeadline, exchanges[exchange].exchange.webCall?.deadline ?? .never) <= loop.now
  }

  /// Whether a request's messages come as they come: of a call, where the upstream may take calls at all.
  @inline(__always)
  func isStreamingCall(_ exchange: Int32) -> Bool {
    exchanges[exchange].isCall && exchanges[exchange].group?.with({ $0.speaksHTTP2 }) == true
  }

  /// The longest pause of a request's body: a call may say nothing for long, and go on then.
  @inline(__always)
  func bodyTimeout(_ exchange: Int32) -> Int64 {
    isStreamingCall(exchange) ? limits.settings.tunnelTimeout : limits.settings.bodyTimeout
  }

  private static var timeoutField: [UInt8] { Array("grpc-timeout".utf8) }

  /// Writes what a caller reads of a refusal: a response that is nothing but trailers, with the problem's code in its message.
  mutating func writeCallRefusal(_ exchange: Int32, _ refusal: Refusal) {
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Content-Type: application/grpc\r\n")
    GRPC.appendRefusal(
      status: callStatus(of: refusal, deadline: exchanges[exchange].callDeadline), code: refusal.problem.code,
      detail: refusal.problem.detail, to: fields)
  }

  /// The status of a call that is refused.
  func callStatus(of refusal: Refusal, deadline: Instant) -> UInt8 {
    refusal.status == 504 && deadline <= world.now ? GRPC.deadlineExceeded : GRPC.status(ofHTTP: refusal.status)
  }
}
