import Core
import HTTP

/// What the machines of HTTP/2 promise, whatever a peer sends.
enum HTTP2Targets {
  // MARK: - HPACK

  private struct Fields: HPACKSink {
    var lines: [[UInt8]] = []
    var nameCounts: [Int] = []

    mutating func take(_ field: HPACKField, line: RawSpan) {
      precondition(line.byteCount == field.nameCount + field.valueCount + 4)
      precondition(line[byte: line.byteCount - 2] == 13 && line[byte: line.byteCount - 1] == 10)
      if field.kind != .malformedName && field.kind != .unknownPseudo {
        for index in 0..<field.nameCount {
          switch line[byte: index] {
          case 0...32, 65...90, 127...: preconditionFailure("no name")
          default: break
          }
        }
      }
      if field.isValueSound {
        for index in 0..<field.valueCount {
          switch line[byte: field.nameCount + 2 + index] {
          case 0, 10, 13: preconditionFailure("no value")
          default: break
          }
        }
      }
      lines.append(line.array)
      nameCounts.append(field.nameCount)
    }
  }

  /// A block is decoded alike by any decoder in the same state; its fields survive being encoded, twice.
  @Sendable
  static func hpack(_ bytes: RawSpan) {
    let workspace = HPACKWorkspace()
    let limits = HPACKLimits(listBytes: 8_192, fieldCount: 64)
    var first = HPACKDecoder(tableBytes: 512)
    var second = HPACKDecoder(tableBytes: 512)
    var last = Fields()
    for _ in 0..<3 {
      var (left, right) = (Fields(), Fields())
      let outcome = first.decode(bytes, limits: limits, with: workspace, to: &left)
      precondition(outcome == second.decode(bytes, limits: limits, with: workspace, to: &right))
      precondition(left.lines == right.lines && first.tableSize == second.tableSize && first.tableSize <= 512)
      precondition(left.lines.count <= limits.fieldCount)
      last = left
      guard case .malformed = outcome else { continue }
      break
    }
    var encoder = HPACKEncoder()
    var decoder = HPACKDecoder()
    encoder.setAllowedTableBytes(bytes.byteCount % 5 * 100)
    for _ in 0..<3 {
      let block = ByteBuffer()
      encoder.begin(to: block)
      for (index, line) in last.lines.enumerated() {
        let text = ByteBuffer(copying: RawSpan(line))
        let count = last.nameCounts[index]
        let name = text.bytes.extracting(0..<count)
        encoder.append(
          name: name, value: text.bytes.extracting(count + 2..<line.count - 2), known: FieldName.of(name),
          isSensitive: false, with: workspace, to: block)
      }
      var again = Fields()
      let outcome = decoder.decode(block.bytes, limits: limits, with: workspace, to: &again)
      precondition(outcome == .complete)
      for (index, line) in again.lines.enumerated() {
        // Names are folded on their way out.
        let folded = last.lines[index].enumerated().map { offset, byte in
          offset < last.nameCounts[index] && byte >= 65 && byte <= 90 ? byte | 0x20 : byte
        }
        precondition(line == folded)
      }
    }
  }

  // MARK: - Connections

  /// A connection, whoever owns its streams, and what came of it.
  private final class Rig {
    let workspace = HTTP2Workspace { _, target in
      target.append("accept")
    } webSocketNonce: {
      7
    }
    let connection: HTTP2Connection
    let wire = ByteBuffer()
    var sent: [UInt8] = []
    var streams: [ObjectIdentifier: (stream: HTTP2Stream, text: [UInt8], isAnswered: Bool)] = [:]
    var texts: [[UInt8]] = []

    init(_ role: HTTP2Connection.Role) {
      var options = HTTP2Options()
      options.fields = HPACKLimits(listBytes: 4_096, fieldCount: 32)
      options.fieldBlockBytes = 4_096
      options.concurrentStreams = 4
      options.outputBytes = 4_096
      options.sendBufferBytes = 1_024
      connection = HTTP2Connection(role, options: options, workspace: workspace)
    }

    func receive(_ bytes: RawSpan, step: Int) {
      var offset = 0
      while offset < bytes.byteCount {
        let end = min(offset + step, bytes.byteCount)
        wire.append(bytes.extracting(offset..<end))
        offset = end
        connection.receive(wire)
        precondition(wire.count < 9 + 16_384)
        precondition(connection.output.count < 4_096 + 32_768 + 70_000)
      }
      // The owner comes only when all has arrived, so that it cannot matter how.
      act()
    }

    func act() {
      for _ in 0..<100 {
        var isIdle = true
        while let event = connection.nextEvent() {
          isIdle = false
          switch event {
          case .opened(let stream):
            streams[ObjectIdentifier(stream)] = (stream, [], false)
            serve(stream)
          case .ready(let stream, _): serve(stream)
          }
        }
        let output = connection.output
        sent += output.bytes.array
        connection.sent(output.count)
        if isIdle { return }
      }
    }

    func serve(_ stream: HTTP2Stream) {
      guard var entry = streams[ObjectIdentifier(stream)] else { preconditionFailure("an event of a closed stream") }
      let text = ByteBuffer()
      reading: while true {
        switch connection.read(stream, into: text, limit: 100) {
        case .count(let count): precondition(count > 0 && count <= 100)
        case .wouldBlock: break reading
        case .ended, .failed:
          close(stream, entry.text + text.bytes.array)
          return
        }
      }
      entry.text += text.bytes.array
      if connection.role == .server && !entry.isAnswered {
        let answer: StaticString =
          "HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n"
        let buffer = ByteBuffer()
        buffer.append(answer)
        if case .count(buffer.count) = connection.write(stream, buffer.bytes) { entry.isAnswered = true }
      }
      streams[ObjectIdentifier(stream)] = entry
    }

    private func close(_ stream: HTTP2Stream, _ text: [UInt8]) {
      texts.append(text)
      streams[ObjectIdentifier(stream)] = nil
      connection.close(stream, reset: false)
    }

    func finish() {
      connection.transportEnded()
      act()
      for entry in streams.values { close(entry.stream, entry.text) }
      precondition(connection.openStreams == 0 && connection.nextEvent() == nil)
    }
  }

  /// Whatever comes behind a client's preface, however it is cut: the same is sent back, and what streams say is HTTP/1.1
  /// that cannot be read in two ways.
  @Sendable
  static func server(_ bytes: RawSpan) {
    let whole = serve(bytes, step: 16_384)
    for step in [1, 5] {
      let cut = serve(bytes, step: step)
      precondition(cut.sent == whole.sent && cut.connection.closure == whole.connection.closure)
      precondition(Set(cut.texts) == Set(whole.texts))
    }
    for text in whole.texts where !text.isEmpty { checkRequest(text) }
  }

  private static func serve(_ bytes: RawSpan, step: Int) -> Rig {
    let rig = Rig(.server)
    rig.wire.append("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    rig.wire.append([0, 0, 0, 4, 0, 0, 0, 0, 0] as [UInt8])
    rig.receive(bytes, step: step)
    rig.finish()
    return rig
  }

  /// What a stream of a server says begins with one head, and goes on with one body at most.
  private static func checkRequest(_ text: [UInt8]) {
    let buffer = ByteBuffer(copying: RawSpan(text))
    let head = RequestHead()
    let limits = HeadLimits(requestLineBytes: 65_536, fieldCount: 64, paths: [.emptySegments, .encodedSlashes])
    switch head.parse(buffer, limits: limits) {
    case .incomplete: preconditionFailure("half a head")
    case .refused(let fault):
      switch fault {
      // What the one parser of requests judges: targets, hosts, expectations.
      case .malformedTarget, .fragmentInTarget, .encodedControl, .malformedEscape, .encodedDot, .dotSegment,
        .missingHost, .malformedHost, .unmetExpectation, .connectNotSupported, .methodTooLong, .malformedMethod,
        .encodedSeparator, .emptySegment, .connectionNamesEssential:
        break
      default: preconditionFailure("\(fault)")
      }
    case .complete(let count):
      buffer.consume(count)
      if head.upgrade != nil { return }
      switch head.framing {
      case .none: precondition(buffer.isEmpty)
      case .length(let length): precondition(Int64(buffer.count) <= length)
      case .chunked: checkChunks(buffer)
      case .untilClose: preconditionFailure("no end")
      }
    }
  }

  private static func checkChunks(_ buffer: ByteBuffer) {
    var decoder = ChunkedDecoder(trailerBytesLimit: 65_536)
    while true {
      switch decoder.next(buffer.bytes) {
      case .data(let skip, let count): buffer.consume(skip + count)
      case .trailer(_, _, _, let consumed): buffer.consume(consumed)
      case .end(let consumed):
        precondition(consumed == buffer.count)
        return
      case .incomplete: return
      case .malformed(let fault): preconditionFailure("\(fault)")
      }
    }
  }

  /// Whatever an upstream answers to three requests.
  @Sendable
  static func client(_ bytes: RawSpan) {
    let whole = ask(bytes, step: 16_384)
    for step in [1, 5] {
      let cut = ask(bytes, step: step)
      precondition(cut.sent == whole.sent && cut.connection.closure == whole.connection.closure)
      precondition(Set(cut.texts) == Set(whole.texts))
    }
    for text in whole.texts where !text.isEmpty {
      let head = ResponseHead()
      if case .refused(let fault) = head.parse(ByteBuffer(copying: RawSpan(text)), limits: HeadLimits()) {
        precondition(fault == .bodyInInformational)
      }
    }
  }

  private static func ask(_ bytes: RawSpan, step: Int) -> Rig {
    let rig = Rig(.client)
    // SETTINGS that allow extended CONNECT.
    let settings = ByteBuffer()
    settings.append([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1] as [UInt8])
    rig.connection.receive(settings)
    let requests: [StaticString] = [
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /w HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    ]
    for request in requests {
      guard let stream = rig.connection.open() else { continue }
      rig.streams[ObjectIdentifier(stream)] = (stream, [], false)
      let text = ByteBuffer()
      text.append(request)
      precondition(rig.connection.write(stream, text.bytes) == .count(text.count))
    }
    rig.receive(bytes, step: step)
    rig.finish()
    return rig
  }

  /// A request that goes through a client and a server says what it said before.
  @Sendable
  static func roundTrip(_ bytes: RawSpan) {
    let original = RequestHead()
    let source = ByteBuffer(copying: bytes)
    let limits = HeadLimits(requestLineBytes: 4_096, fieldCount: 32, headBytes: 8_192)
    guard case .complete(let headCount) = original.parse(source, limits: limits), !original.isHTTP10,
      original.upgrade == nil
    else { return }
    let (client, server) = (Rig(.client), Rig(.server))
    move(server, client)
    guard let stream = client.connection.open() else { preconditionFailure("no stream") }
    client.streams[ObjectIdentifier(stream)] = (stream, [], true)
    if case .failed = client.connection.write(stream, bytes) { return }
    for _ in 0..<20 {
      move(client, server)
      move(server, client)
    }
    client.finish()
    server.finish()
    guard let text = server.texts.first, !text.isEmpty else { return }
    let copy = RequestHead()
    guard case .complete = copy.parse(ByteBuffer(copying: RawSpan(text)), limits: HeadLimits()) else {
      preconditionFailure("no request any more")
    }
    precondition(copy.bytes(copy.methodText).array == original.bytes(original.methodText).array)
    precondition(copy.bytes(copy.path).array == original.bytes(original.path).array)
    precondition(copy.bytes(copy.query).array == original.bytes(original.query).array)
    precondition(copy.bytes(copy.authority).array == original.bytes(original.authority).array)
    precondition(headCount <= source.count)
    for index in 0..<original.fieldCount where !original.field(index).isDropped && original.field(index).name == .other
    {
      let name = original.name(of: index).array.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }
      guard let found = copy.firstIndex(named: RawSpan(name)) else { preconditionFailure("a field is lost") }
      precondition(copy.fieldCount > found)
    }
  }

  private static func move(_ from: Rig, _ to: Rig) {
    let output = from.connection.output
    to.wire.append(output.bytes)
    from.connection.sent(output.count)
    to.connection.receive(to.wire)
    while let event = to.connection.nextEvent() {
      switch event {
      case .opened(let stream):
        to.streams[ObjectIdentifier(stream)] = (stream, [], true)
        to.serve(stream)
      case .ready(let stream, _): to.serve(stream)
      }
    }
  }
}
