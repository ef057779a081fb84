import Core

// What the fields of a message are collected in while its field block is decoded. Nothing reaches a stream before the whole
// block was found to be sound, so that half a head is never seen.

/// The parts that RFC 9113 section 8.3 and the framing of HTTP/1.1 treat apart from other fields.
@safe
struct HTTP2FieldSink: HPACKSink {
  /// Whose message it is.
  enum Kind: UInt8 { case request, response, trailers, nothing }

  let kind: Kind
  private let workspace: HTTP2Workspace
  /// The first rule that was broken.
  var fault: HTTP2Fault?
  /// A bit for each kind of field that was seen and may be there once.
  private var seen: UInt32 = 0
  private var hasField = false

  // Ranges of the workspace's `parts`.
  var method = ByteRange.empty
  var path = ByteRange.empty
  var authority = ByteRange.empty
  var host = ByteRange.empty
  var status = ByteRange.empty
  var protocolName = ByteRange.empty
  /// −1 where there is none.
  var contentLength: Int64 = -1
  /// What needs no look at the bytes, since the static table says it: a method, and that the scheme is http or https.
  var knownMethod = Method.other
  var isSchemeKnown = false
  var urgency: UInt8 = 3
  var isIncremental = true

  init(_ kind: Kind, _ workspace: HTTP2Workspace) {
    self.kind = kind
    self.workspace = workspace
    workspace.lines.removeAll()
    workspace.parts.removeAll()
    if !workspace.cookies.isEmpty { workspace.cookies.removeAll(keeping: 4_096) }
  }

  @inline(__always)
  func has(_ kind: HPACKFieldKind) -> Bool { seen >> UInt32(kind.rawValue) & 1 != 0 }

  @inline(__always)
  mutating func take(_ field: HPACKField, line: RawSpan) {
    if fault != nil || kind == .nothing { return }
    if !field.isValueSound {
      fault = .malformedFieldValue
    } else if field.kind == .plain {
      hasField = true
      workspace.lines.append(line)
    } else if let found = takeSpecial(field, line) {
      fault = found
    }
  }

  private mutating func takeSpecial(_ field: HPACKField, _ line: RawSpan) -> HTTP2Fault? {
    let start = field.valueStart
    precondition(start &+ field.valueCount <= line.byteCount)
    let value = unsafe line.extracting(unchecked: Range(uncheckedBounds: (start, start &+ field.valueCount)))
    if field.kind.isPseudo { return takePseudo(field, value) }
    hasField = true
    switch field.kind {
    case .malformedName: return .malformedFieldName
    case .connectionSpecific: return .connectionSpecificField
    case .cookie where kind == .request:
      // RFC 9113 section 8.2.3: crumbs are one field to HTTP/1.1.
      let cookies = workspace.cookies
      cookies.append(cookies.isEmpty ? "cookie: " : "; ")
      cookies.append(value)
      return nil
    case .te:
      guard kind == .request, value.equalsIgnoringCase("trailers") else { return .malformedTE }
    case .contentLength:
      if kind == .trailers { return nil }
      guard markOnce(.contentLength) else { return .repeatedField }
      guard let length = Decimal.read(value) else { return .malformedContentLength }
      contentLength = length
    case .host:
      if kind == .trailers { return nil }
      if kind == .request {
        guard markOnce(.host) else { return .repeatedField }
        host = keep(value)
        return nil
      }
    case .webSocketHandshake:
      if kind != .request || !protocolName.isEmpty { return nil }
    case .priority:
      if kind == .request { HTTP2Priority.read(value, &urgency, &isIncremental) }
    default: break
    }
    workspace.lines.append(line)
    return nil
  }

  private mutating func takePseudo(_ field: HPACKField, _ value: RawSpan) -> HTTP2Fault? {
    if kind == .trailers { return .pseudoFieldInTrailers }
    if hasField { return .pseudoFieldAfterField }
    if field.kind == .unknownPseudo || (field.kind == .status) != (kind == .response) { return .unknownPseudoField }
    if !markOnce(field.kind) { return .repeatedPseudoField }
    switch field.kind {
    case .method:
      if field.staticIndex == 2 {
        knownMethod = .get
      } else if field.staticIndex == 3 {
        knownMethod = .post
      } else {
        method = keep(value)
        knownMethod = Method.of(value)
      }
    case .scheme:
      isSchemeKnown = field.staticIndex != 0 || value.spells("https") || value.spells("http")
    case .path: path = keep(value)
    case .authority: authority = keep(value)
    case .protocolName: protocolName = keep(value)
    default: status = keep(value)
    }
    return nil
  }

  /// Notes that a field was seen; false where it was before.
  private mutating func markOnce(_ kind: HPACKFieldKind) -> Bool {
    let bit: UInt32 = 1 << UInt32(kind.rawValue)
    let isFirst = seen & bit == 0
    seen |= bit
    return isFirst
  }

  private func keep(_ value: RawSpan) -> ByteRange {
    let parts = workspace.parts
    let start = parts.count
    parts.append(value)
    return ByteRange(start, upTo: parts.count)
  }
}

/// The Priority field and the value of PRIORITY_UPDATE (RFC 9218 section 4): a dictionary of structured fields, of which
/// two members matter. What cannot be read is ignored, as section 4 has it.
enum HTTP2Priority {
  static func read(_ value: RawSpan, _ urgency: inout UInt8, _ isIncremental: inout Bool) {
    // A client that says anything at all means the defaults of what it does not say.
    var (readUrgency, readIncremental): (UInt8, Bool) = (3, false)
    var list = ListReader(value)
    while let range = list.next() {
      var member = value.extracting(range)
      // Parameters of a member mean nothing here.
      var end = 0
      while end < member.byteCount, member[byte: end] != 59 { end += 1 }
      member = member.extracting(0..<end).trimmed()
      if member.byteCount == 3, member[byte: 0] == 117, member[byte: 1] == 61 {
        let digit = member[byte: 2] &- 48
        if digit < 8 { readUrgency = digit }
      } else if member.spells("i") || member.spells("i=?1") {
        readIncremental = true
      } else if member.spells("i=?0") {
        readIncremental = false
      }
    }
    urgency = readUrgency
    isIncremental = readIncremental
  }
}
