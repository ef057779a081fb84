// Calls of gRPC-Web, which the policy `grpc-web` has found: their bodies change on the way, in both directions.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// The request is a call: prepares what goes to the upstream for what becomes of its body, and notes its deadline.
  @inline(never)
  mutating func beginWebCall(_ exchange: Int32) {
    guard let call = exchanges[exchange].exchange.webCall else { return }
    call.deadline = deadline(ofCall: exchange)
    if call.deadline < exchanges[exchange].totalDeadline {
      exchanges[exchange].totalDeadline = call.deadline
      clientTimers.schedule(exchanges[exchange].client, at: call.deadline)
    }
    guard call.isRequestEncoded, !exchanges[exchange].requestBody.isComplete else { return }
    request.dropAll(.contentLength)
    exchanges[exchange].requestIsChunked = true
  }

  /// Moves the Base64 in `buffer` into the upstream's framing, as the bytes that it stands for. False where that went wrong,
  /// and the request has been refused.
  @inline(never)
  mutating func takeEncodedBody(_ exchange: Int32, _ call: GRPCWebCall, _ buffer: ByteBuffer) -> Bool {
    let (toServer, decoded) = (exchanges[exchange].toServer, ByteBuffer())
    while !exchanges[exchange].requestBody.isComplete {
      switch exchanges[exchange].requestBody.next(buffer.bytes) {
      case .data(let skip, let count):
        guard exchanges[exchange].requestBody.received <= exchanges[exchange].exchange.bodyLimit else {
          refuse(exchange, ProblemCatalogue.bodyTooLarge)
          return false
        }
        decoded.removeAll()
        guard call.decode(buffer.bytes.extracting(skip..<skip + count), to: decoded) else {
          return refuseEncoding(exchange)
        }
        if !decoded.isEmpty { toServer.appendChunk(decoded.bytes) }
        buffer.consume(skip + count)
      // A page can send no trailers.
      case .trailer(_, let consumed), .end(let consumed): buffer.consume(consumed)
      case .incomplete(let consumed):
        buffer.consume(consumed)
        return true
      case .malformed(let fault):
        refuse(exchange, malformed: fault)
        return false
      }
    }
    guard call.isRequestWhole else { return refuseEncoding(exchange) }
    toServer.append("0\r\n\r\n")
    return true
  }

  private mutating func refuseEncoding(_ exchange: Int32) -> Bool {
    refuse(exchange, ProblemCatalogue.malformedEncoding)
    return false
  }

  /// Moves what `buffer` holds of the response to the client, its trailers as a message. False where it is malformed.
  @inline(never)
  mutating func takeWebResponse(_ exchange: Int32, _ call: GRPCWebCall, _ buffer: ByteBuffer) -> Bool {
    let translated = ByteBuffer()
    loop: while !exchanges[exchange].responseBody.isComplete {
      switch exchanges[exchange].responseBody.next(buffer.bytes) {
      case .data(let skip, let count):
        call.append(buffer.bytes.extracting(skip..<skip + count), to: translated)
        buffer.consume(skip + count)
      case .trailer(let field, let consumed):
        if let field {
          call.take(
            trailer: buffer.bytes.extracting(field.name.offsets), value: buffer.bytes.extracting(field.value.offsets))
        }
        buffer.consume(consumed)
      case .end(let consumed): buffer.consume(consumed)
      case .incomplete(let consumed):
        buffer.consume(consumed)
        break loop
      case .malformed: return false
      }
    }
    if exchanges[exchange].responseBody.isComplete { call.appendEnd(to: translated) }
    guard !translated.isEmpty else { return true }
    if exchanges[exchange].responseFraming == .chunked {
      exchanges[exchange].toClient.appendChunk(translated.bytes)
    } else {
      exchanges[exchange].toClient.append(translated.bytes)
    }
    return true
  }

  /// Writes what a page reads of a refusal: trailers in the body, since it may not be let see fields of other origins.
  @inline(never)
  mutating func writeWebRefusal(_ exchange: Int32, _ call: GRPCWebCall, _ refusal: Refusal) {
    call.takeRefusal(
      status: callStatus(of: refusal, deadline: call.deadline), code: refusal.problem.code,
      detail: refusal.problem.detail)
    let body = exchanges[exchange].exchange.replyBody
    body.removeAll()
    call.appendEnd(to: body)
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Content-Type: ")
    call.appendResponseType(to: fields)
    fields.append("\r\nCache-Control: no-store\r\n")
  }
}
