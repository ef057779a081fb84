/// Why bytes were refused as HTTP/1.1: one case a rule, so that logs, tests and counters can tell them apart.
///
/// Whoever refuses a request answers with ``status`` and closes the connection; the same fault in a response means 502
/// to the client. Nothing malformed is ever repaired or passed on (RFC 9112 section 11.2).
public enum HTTPFault: UInt8, Error, CaseIterable, Sendable {
  // Both kinds of head.
  case bareLF, bareCR, controlByte, whitespaceBeforeColon, lineFolding, malformedFieldName, missingColon
  case tooManyFields, headTooLarge
  case repeatedContentLength, malformedContentLength, lengthWithTransferEncoding
  case repeatedTransferEncoding, unsupportedTransferCoding, transferEncodingInHTTP10
  case malformedConnection, connectionNamesEssential
  // Request line and target.
  case malformedRequestLine, requestLineTooLong, malformedMethod, methodTooLong, connectNotSupported
  case unsupportedVersion, malformedTarget, fragmentInTarget, asteriskNotForMethod, authorityMismatch
  case encodedSeparator, encodedControl, malformedEscape, encodedDot, dotSegment, emptySegment
  // Fields of requests.
  case missingHost, repeatedHost, malformedHost, unmetExpectation
  // Responses.
  case malformedStatusLine, statusOutOfRange, bodyInInformational
  // Chunked bodies.
  case malformedChunkSize, chunkTooLarge, malformedChunkExtension, chunkExtensionsTooLong
  case malformedChunkEnd, malformedTrailer, trailersTooLong

  /// The status a request with this fault is answered with.
  public var status: Int {
    switch self {
    case .requestLineTooLong: 414
    case .tooManyFields, .headTooLarge, .trailersTooLong: 431
    case .unmetExpectation: 417
    case .methodTooLong, .connectNotSupported: 501
    case .unsupportedVersion: 505
    default: 400
    }
  }

  /// What is wrong, in a few words that tell a client's author what to mend; never a byte of the input.
  public var reason: StaticString {
    switch self {
    case .bareLF, .bareCR, .controlByte, .whitespaceBeforeColon, .lineFolding, .malformedFieldName, .missingColon,
      .tooManyFields, .headTooLarge, .repeatedContentLength, .malformedContentLength, .lengthWithTransferEncoding,
      .repeatedTransferEncoding, .unsupportedTransferCoding, .transferEncodingInHTTP10, .malformedConnection,
      .connectionNamesEssential:
      fieldReason
    case .malformedRequestLine, .requestLineTooLong, .malformedMethod, .methodTooLong, .connectNotSupported,
      .unsupportedVersion, .malformedTarget, .fragmentInTarget, .asteriskNotForMethod, .authorityMismatch,
      .encodedSeparator, .encodedControl, .malformedEscape, .encodedDot, .dotSegment, .emptySegment,
      .missingHost, .repeatedHost, .malformedHost, .unmetExpectation:
      requestReason
    default: bodyReason
    }
  }

  private var fieldReason: StaticString {
    switch self {
    case .bareLF: "a line ends with LF alone"
    case .bareCR: "a CR that no LF follows"
    case .controlByte: "a control byte in the head"
    case .whitespaceBeforeColon: "whitespace before the colon of a field"
    case .lineFolding: "a field line is folded"
    case .malformedFieldName: "a field name is not a token"
    case .missingColon: "a field line without a colon"
    case .tooManyFields: "too many fields"
    case .headTooLarge: "the head is too large"
    case .repeatedContentLength: "more than one Content-Length"
    case .malformedContentLength: "Content-Length is not one decimal number"
    case .lengthWithTransferEncoding: "both Content-Length and Transfer-Encoding"
    case .repeatedTransferEncoding: "more than one Transfer-Encoding"
    case .unsupportedTransferCoding: "Transfer-Encoding is not exactly chunked"
    case .transferEncodingInHTTP10: "Transfer-Encoding in HTTP/1.0"
    case .malformedConnection: "Connection is not a list of tokens"
    default: "Connection names a field that must reach the recipient"
    }
  }

  private var requestReason: StaticString {
    switch self {
    case .malformedRequestLine: "the request line is malformed"
    case .requestLineTooLong: "the request line is too long"
    case .malformedMethod: "the method is not a token"
    case .methodTooLong: "the method is unknown and too long"
    case .connectNotSupported: "CONNECT is not supported"
    case .unsupportedVersion: "the HTTP version is not supported"
    case .malformedTarget: "the request target is malformed"
    case .fragmentInTarget: "a fragment in the request target"
    case .asteriskNotForMethod: "the target * with a method other than OPTIONS"
    case .authorityMismatch: "the target names another host than Host"
    case .encodedSeparator: "an encoded slash or backslash in the path"
    case .encodedControl: "an encoded control byte in the path"
    case .malformedEscape: "a percent sign without two hexadecimal digits in the path"
    case .encodedDot: "an encoded dot in the path"
    case .dotSegment: "a dot segment in the path"
    case .emptySegment: "an empty segment in the path"
    case .missingHost: "Host is missing"
    case .repeatedHost: "more than one Host"
    case .malformedHost: "Host is malformed"
    default: "Expect is not 100-continue"
    }
  }

  private var bodyReason: StaticString {
    switch self {
    case .malformedStatusLine: "the status line is malformed"
    case .statusOutOfRange: "the status is not between 100 and 599"
    case .bodyInInformational: "an informational response announces a body"
    case .malformedChunkSize: "a chunk size is malformed"
    case .chunkTooLarge: "a chunk size is too large"
    case .malformedChunkExtension: "a chunk extension is malformed"
    case .chunkExtensionsTooLong: "chunk extensions are too long"
    case .malformedChunkEnd: "a chunk does not end with CRLF"
    case .malformedTrailer: "a trailer field is malformed"
    default: "the trailers are too long"
    }
  }
}
