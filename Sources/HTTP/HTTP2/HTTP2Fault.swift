/// The error codes of RFC 9113 section 7.
public enum HTTP2ErrorCode: UInt32, CaseIterable, Sendable {
  case noError, protocolError, internalError, flowControlError, settingsTimeout, streamClosed, frameSizeError
  case refusedStream, cancel, compressionError, connectError, enhanceYourCalm, inadequateSecurity, http11Required
}

/// What was wrong with a peer's frames or messages: one case a rule, so that logs, tests and counters can tell them apart.
public enum HTTP2Fault: UInt8, Error, CaseIterable, Sendable {
  // The connection as a whole.
  case malformedPreface, firstFrameIsNotSettings, frameTooLarge, wrongFrameSize, wrongStreamZero, missingStream
  case paddingTooLong, interruptedFieldBlock, continuationWithoutHeaders, malformedFieldBlock, pushNotAllowed
  case evenStreamOfClient, frameOnIdleStream, headersOnClosedStream, invalidSetting
  case connectionWindowExceeded, connectionWindowOverflow, emptyConnectionWindowUpdate, initialWindowOverflow
  case priorityUpdateFromServer, dataBeforeHeaders
  // One stream.
  case frameOnClosedStream, streamWindowExceeded, streamWindowOverflow, emptyStreamWindowUpdate
  case wrongPrioritySize, tooManyStreams
  // One message.
  case trailersWithoutEnd, pseudoFieldInTrailers, pseudoFieldAfterField, repeatedPseudoField, unknownPseudoField
  case missingPseudoField, malformedPseudoField, connectionSpecificField, malformedFieldName, malformedFieldValue
  case repeatedField, malformedContentLength, contentLengthMismatch, authorityMismatch, malformedTE
  case malformedStatus, endAfterInformational, tooManyInformational, unexpectedProtocol
  // Of our own side: what was written to a stream is no HTTP/1.1 message.
  case malformedOutgoingMessage

  /// The code that the peer is told.
  public var code: HTTP2ErrorCode {
    switch self {
    case .frameTooLarge, .wrongFrameSize, .wrongPrioritySize: .frameSizeError
    case .malformedFieldBlock: .compressionError
    case .headersOnClosedStream, .frameOnClosedStream: .streamClosed
    case .connectionWindowExceeded, .connectionWindowOverflow, .initialWindowOverflow, .streamWindowExceeded,
      .streamWindowOverflow:
      .flowControlError
    case .tooManyStreams: .refusedStream
    case .malformedOutgoingMessage: .internalError
    default: .protocolError
    }
  }
}

/// Why a connection has ended, or must end once what waits to be sent has gone out.
public struct HTTP2Closure: Equatable, Sendable {
  /// What the peer was told, or told us.
  public var code: HTTP2ErrorCode
  /// The rule that the peer broke, if it was one.
  public var fault: HTTP2Fault?
  /// The limit that the peer exceeded, if it was one.
  public var limit: HTTP2Limit?

  /// That reason.
  public init(code: HTTP2ErrorCode, fault: HTTP2Fault? = nil, limit: HTTP2Limit? = nil) {
    self.code = code
    self.fault = fault
    self.limit = limit
  }
}
