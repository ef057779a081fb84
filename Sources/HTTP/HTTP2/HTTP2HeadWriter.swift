import CLinux
import Core

// Heads of HTTP/1.1 from the fields of HTTP/2.
//
// A head that is written here cannot be read in two ways: names and values were checked when they were decoded, the parts
// of the request line are checked here, and the framing is ours alone. What else may be wrong with a target or a host is
// left to the one parser that judges all requests (``RequestHead``).

enum HTTP2HeadWriter {
  /// What a message says about its body.
  struct Shape: BitwiseCopyable {
    /// Bytes that the body has; −1 where that is not said.
    var length: Int64 = -1
    var isChunked = false
    /// DATA is bytes of a tunnel, which has to be agreed to first.
    var isTunnel = false
    var isExtendedConnect = false
    var method = Method.other
  }

  /// Appends the head of a request to `target`, or finds the rule it breaks.
  static func appendRequest(
    _ fields: borrowing HTTP2FieldSink, _ workspace: HTTP2Workspace, endsStream: Bool, announcesClose: Bool,
    _ shape: inout Shape, to target: ByteBuffer
  ) -> HTTP2Fault? {
    let (buffer, lines, cookies) = (workspace.parts, workspace.lines, workspace.cookies)
    let parts = buffer.bytes
    shape.method = fields.knownMethod
    if let fault = check(fields, parts, &shape) { return fault }
    // A tunnel has no length (RFC 9110 section 9.3.6).
    if shape.isTunnel && fields.contentLength >= 0 { return .malformedContentLength }
    let authority = fields.has(.authority) ? fields.authority : fields.host
    appendLine(
      shape.isExtendedConnect ? .get : shape.method, parts.extracting(fields.method.offsets),
      parts.extracting((shape.method == .connect && !shape.isExtendedConnect ? authority : fields.path).offsets),
      host: parts.extracting(authority.offsets), hasHost: fields.has(.authority) || fields.has(.host), to: target)
    target.append(lines.bytes)
    if !cookies.isEmpty {
      target.append(cookies.bytes)
      target.append("\r\n")
    }
    if shape.isExtendedConnect {
      // RFC 8441 section 5.1: HTTP/2 has neither key nor answer, but HTTP/1.1 asks for them.
      target.append("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ")
      workspace.appendWebSocketKey(to: target)
      target.append("\r\n\r\n")
      return nil
    }
    if announcesClose { target.append("connection: close\r\n") }
    return appendFraming(fields, endsStream: endsStream, &shape, to: target)
  }

  /// Appends the request line and Host.
  private static func appendLine(
    _ method: Method, _ methodText: RawSpan, _ path: RawSpan, host: RawSpan, hasHost: Bool, to target: ByteBuffer
  ) {
    if method == .get {
      target.append("GET ")
    } else if method == .post {
      target.append("POST ")
    } else {
      target.append(methodText)
      target.append(UInt8(ascii: " "))
    }
    target.append(path)
    if hasHost {
      target.append(" HTTP/1.1\r\nhost: ")
      target.append(host)
      target.append("\r\n")
    } else {
      target.append(" HTTP/1.1\r\n")
    }
  }

  /// Ends a request's head.
  private static func appendFraming(
    _ fields: borrowing HTTP2FieldSink, endsStream: Bool, _ shape: inout Shape, to target: ByteBuffer
  ) -> HTTP2Fault? {
    if endsStream {
      if fields.contentLength > 0 { return .contentLengthMismatch }
    } else if fields.contentLength >= 0 {
      shape.length = fields.contentLength
    } else if !shape.isTunnel {
      shape.isChunked = true
      target.append("transfer-encoding: chunked\r\n")
    }
    target.append("\r\n")
    return nil
  }

  /// Checks what RFC 9113 section 8.3.1, section 8.5 and RFC 8441 section 4 ask of the pseudo-header fields.
  private static func check(
    _ fields: borrowing HTTP2FieldSink, _ parts: RawSpan, _ shape: inout Shape
  ) -> HTTP2Fault? {
    if !fields.has(.method) { return .missingPseudoField }
    if shape.method == .other, !ByteClass.isToken(parts.extracting(fields.method.offsets)) {
      return .malformedPseudoField
    }
    if fields.has(.protocolName) {
      guard shape.method == .connect else { return .unexpectedProtocol }
      shape.isExtendedConnect = true
      shape.isTunnel = true
    } else if shape.method == .connect {
      shape.isTunnel = true
      if fields.has(.path) || fields.has(.scheme) { return .unexpectedProtocol }
      if !fields.has(.authority) { return .missingPseudoField }
    }
    if shape.method != .connect || shape.isExtendedConnect {
      if !fields.has(.path) || !fields.has(.scheme) { return .missingPseudoField }
      if !fields.isSchemeKnown { return .malformedPseudoField }
      if !isTarget(parts.extracting(fields.path.offsets), shape.method) { return .malformedPseudoField }
    }
    if fields.has(.authority) {
      let authority = parts.extracting(fields.authority.offsets)
      if authority.byteCount == 0 || !isPlain(authority) { return .malformedPseudoField }
      if fields.has(.host), !parts.extracting(fields.host.offsets).matches(authority) { return .authorityMismatch }
    } else if fields.has(.host), !isPlain(parts.extracting(fields.host.offsets)) {
      return .malformedFieldValue
    }
    return nil
  }

  /// A path, or an asterisk with OPTIONS, without blanks.
  private static func isTarget(_ path: RawSpan, _ method: Method) -> Bool {
    if path.byteCount == 0 { return false }
    if path[byte: 0] == 42 { return path.byteCount == 1 && method == .options }
    return path[byte: 0] == 47 && isPlain(path)
  }

  /// Whether there is no blank; control bytes were ruled out before. Behind the text, the workspace's slack is readable.
  private static func isPlain(_ text: RawSpan) -> Bool {
    let count = text.byteCount
    return unsafe text.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return true }
      var offset = 0
      while offset < count {
        let start = unsafe (base + offset).assumingMemoryBound(to: UInt8.self)
        var stops = unsafe sluice_target_stop16(start)
        if count &- offset < 16 { stops &= (1 &<< UInt32(truncatingIfNeeded: count &- offset)) &- 1 }
        while stops != 0 {
          let byte = unsafe start[stops.trailingZeroBitCount]
          if byte == 32 || byte == 9 { return false }
          stops &= stops &- 1
        }
        offset &+= 16
      }
      return true
    }
  }

  /// What a response answers.
  struct Question: BitwiseCopyable {
    var method: Method
    var isExtendedConnect: Bool
  }

  /// Appends the head of a response to `target`; `status` becomes its status.
  static func appendResponse(
    _ fields: borrowing HTTP2FieldSink, _ workspace: HTTP2Workspace, to question: Question, endsStream: Bool,
    announcesClose: Bool, webSocketKey: [UInt8], _ shape: inout Shape, _ status: inout Int, to target: ByteBuffer
  ) -> HTTP2Fault? {
    let (buffer, lines) = (workspace.parts, workspace.lines)
    let digits = buffer.bytes.extracting(fields.status.offsets)
    if !fields.has(.status) { return .missingPseudoField }
    guard digits.byteCount == 3, let number = Decimal.read(digits), number >= 100, number <= 599, number != 101
    else { return .malformedStatus }
    status = Int(number)
    if question.isExtendedConnect && status >= 200 && status < 300 {
      shape.isTunnel = true
      target.append("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n")
      target.append("sec-websocket-accept: ")
      workspace.webSocketAccept(RawSpan(webSocketKey), target)
      target.append("\r\n")
      target.append(lines.bytes)
      target.append("\r\n")
      return fields.contentLength >= 0 ? .malformedContentLength : nil
    }
    target.append("HTTP/1.1 ")
    target.append(digits)
    target.append(" \r\n")
    target.append(lines.bytes)
    if status < 200 {
      target.append("\r\n")
      return endsStream ? .endAfterInformational : nil
    }
    if announcesClose { target.append("connection: close\r\n") }
    if question.method == .head || status == 204 || status == 304 {
      shape.length = 0
    } else if endsStream {
      if fields.contentLength > 0 { return .contentLengthMismatch }
      if fields.contentLength < 0 { target.append("content-length: 0\r\n") }
    } else if fields.contentLength >= 0 {
      shape.length = fields.contentLength
    } else {
      shape.isChunked = true
      target.append("transfer-encoding: chunked\r\n")
    }
    target.append("\r\n")
    return nil
  }
}
