// The request as the upstream gets it: the client's own fields but for those of the connection and those that only the
// gateway may set, then what the gateway and its policies add.

import Core
import Crypto
import HTTP
import Pipeline
import Traffic

enum RequestWriter {
  /// Writes the head of the upstream request. `request` must be bound to the exchange's own copy of the head.
  static func write(
    _ request: RequestHead, _ slot: inout ExchangeSlot, _ route: RoutePlan, _ forwarded: ForwardedBlock,
    into buffer: ByteBuffer
  ) {
    dropOwnFields(request, isTrusted: slot.isTrusted)
    // What a proxy says of its client's certificate holds only where it has not shown one itself.
    if slot.isTrusted, slot.exchange.certificate != nil { dropCertificates(request) }
    let line = unchangedLine(request, &slot, route)
    if !line.isEmpty, case .keep = route.rewrite.host {
      // A request of HTTP/1.1 has a Host.
      request.appendFields(behind: line, to: buffer)
    } else {
      if line.isEmpty { writeLine(request, &slot, route, into: buffer) } else { buffer.append(request.bytes(line)) }
      writeHost(request, &slot, route.rewrite.host, into: buffer)
      request.appendFields(to: buffer)
    }
    writeOwnFields(request, &slot, forwarded, into: buffer)
    if slot.wantsUpgrade, let upgrade = request.upgrade {
      buffer.append("Connection: upgrade\r\n")
      buffer.appendField("Upgrade: ", request.bytes(upgrade))
    }
    if slot.requestIsChunked { buffer.append("Transfer-Encoding: chunked\r\n") }
    if slot.tls != nil, let certificate = slot.exchange.certificate { writeCertificate(certificate, into: buffer) }
    if let fields = slot.exchange.requestFieldsIfAny { buffer.append(fields.bytes) }
    buffer.append("\r\n")
  }

  /// The whole request line if it goes on as it is, else empty.
  @inline(__always)
  private static func unchangedLine(
    _ request: RequestHead, _ slot: inout ExchangeSlot, _ route: RoutePlan
  ) -> ByteRange {
    let isUnchanged = route.rewrite.isIdentity && slot.exchange.changedQuery == nil
    // An origin-form target goes on as it is, and so does the line around it.
    guard isUnchanged, !request.isHTTP10, request.path.start == request.target.start else { return .empty }
    let start = request.methodText.start
    return ByteRange(start: start, count: UInt32(request.target.end + " HTTP/1.1\r\n".utf8.count) - start)
  }

  private static func writeLine(
    _ request: RequestHead, _ slot: inout ExchangeSlot, _ route: RoutePlan, into buffer: ByteBuffer
  ) {
    buffer.append(request.bytes(request.methodText))
    buffer.append(UInt8(ascii: " "))
    let path = request.bytes(request.path)
    if let query = slot.exchange.changedQuery {
      route.rewrite.appendTarget(path: path, query: query.bytes, captures: slot.captures, to: buffer)
    } else if route.rewrite.isIdentity {
      buffer.append(path)
      if !request.query.isEmpty {
        buffer.append(UInt8(ascii: "?"))
        buffer.append(request.bytes(request.query))
      }
    } else {
      route.rewrite.appendTarget(
        path: path, query: request.bytes(request.query), captures: slot.captures, to: buffer)
    }
    buffer.append(" HTTP/1.1\r\n")
  }

  /// Host stands first (RFC 9110 section 7.2). A request of HTTP/1.0 may lack it; upstreams of HTTP/1.1 must get one.
  private static func writeHost(
    _ request: RequestHead, _ slot: inout ExchangeSlot, _ rewrite: Rewrite.Host, into buffer: ByteBuffer
  ) {
    switch rewrite {
    case .keep where request.firstIndex(of: .host) != nil: return
    case .set(let name):
      request.dropAll(.host)
      buffer.append("Host: ")
      buffer.append(utf8: name)
    case .keep, .endpoint:
      request.dropAll(.host)
      guard let endpoint = slot.endpoints?.with({ $0.set.endpoints[Int(slot.position)] }) else { return }
      buffer.append("Host: ")
      endpoint.appendAuthority(to: buffer)
    }
    buffer.append("\r\n")
  }

  private static let own = FieldNameSet(.traceparent) | FieldNameSet(.xRequestId) | FieldNameSet(.xRealIp)
  private static let forwarded =
    FieldNameSet(.forwarded) | FieldNameSet(.xForwardedFor) | FieldNameSet(.xForwardedProto)
    | FieldNameSet(.xForwardedHost) | FieldNameSet(.xForwardedPort)

  /// Fields that tell the upstream who the client is come from the gateway alone; what a trusted proxy said of them is
  /// continued, what anybody else said is dropped.
  private static func dropOwnFields(_ request: RequestHead, isTrusted: Bool) {
    guard !isTrusted else { return request.dropAll(own) }
    request.dropAll(own | forwarded)
    IdentityFields.dropAll(in: request)
  }

  /// The client's certificate and those behind it (RFC 9440), byte sequences of structured fields.
  private static func writeCertificate(_ certificate: TLSPeer, into buffer: ByteBuffer) {
    buffer.append("Client-Cert: :")
    buffer.append(utf8: Base64.encode(certificate.certificate))
    buffer.append(":\r\n")
    if certificate.chain.isEmpty { return }
    let chain = certificate.chain.map { ":\(Base64.encode($0)):" }.joined(separator: ", ")
    buffer.append(utf8: "Client-Cert-Chain: \(chain)\r\n")
  }

  private static let certificateFields = ["client-cert", "client-cert-chain"].map { Array($0.utf8) }

  private static func dropCertificates(_ request: RequestHead) {
    for index in 0..<request.fieldCount where request.field(index).name == .other {
      let name = request.name(of: index).array.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 | 0x20 }
      if certificateFields.contains(name) { request.drop(index) }
    }
  }

  private static func writeOwnFields(
    _ request: RequestHead, _ slot: inout ExchangeSlot, _ forwarded: ForwardedBlock, into buffer: ByteBuffer
  ) {
    if slot.isTrusted {
      continueForwarded(request, &slot, into: buffer)
    } else {
      let authority = request.bytes(request.authority)
      forwarded.append(slot.exchange.peer, authority, isSecure: slot.exchange.isSecure, to: buffer)
    }
    slot.appendRequestID(to: buffer)
    buffer.write(limit: 96) { writer in
      writer.literal("traceparent: ")
      slot.exchange.trace.write(to: &writer)
      if slot.clientIsHTTP10 {
        writer.literal("\r\nVia: 1.0 sluice\r\n")
      } else if slot.isHTTP2 {
        writer.literal("\r\nVia: 2.0 sluice\r\n")
      } else {
        writer.literal("\r\nVia: 1.1 sluice\r\n")
      }
    }
  }

  /// Goes on with what a trusted proxy has said. Lines of the same name make one list, in their order: the nearest hop
  /// comes last.
  private static func continueForwarded(_ request: RequestHead, _ slot: inout ExchangeSlot, into buffer: ByteBuffer) {
    let (address, isSecure) = (slot.exchange.peer, slot.exchange.isSecure)
    buffer.append("X-Forwarded-For: ")
    address.append(to: buffer)
    buffer.append("\r\n")
    if request.firstIndex(of: .xForwardedProto) == nil {
      if isSecure {
        buffer.append("X-Forwarded-Proto: https\r\n")
      } else {
        buffer.append("X-Forwarded-Proto: http\r\n")
      }
    }
    let authority = request.bytes(request.authority)
    if !authority.isEmpty, request.firstIndex(of: .xForwardedHost) == nil {
      buffer.appendField("X-Forwarded-Host: ", authority)
    }
    ForwardedBlock.writeForwarded(address, authority, isSecure, into: buffer)
  }
}

extension Endpoint {
  /// Appends how a Host field names it: the name it was looked up by, or its address; a unix socket has neither.
  func appendAuthority(to buffer: ByteBuffer) {
    guard case .ip(let address, let port) = state.address else { return buffer.append("localhost") }
    if let name {
      buffer.append(utf8: name)
    } else if address.isV4 {
      address.append(to: buffer)
    } else {
      buffer.append(UInt8(ascii: "["))
      address.append(to: buffer)
      buffer.append(UInt8(ascii: "]"))
    }
    guard port != 80 else { return }
    buffer.append(UInt8(ascii: ":"))
    buffer.append(decimal: UInt64(port))
  }
}
