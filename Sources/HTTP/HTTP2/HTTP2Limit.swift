/// A bound on what a peer may make us do over HTTP/2. Going beyond one ends the connection, or where ``endsStreamOnly``
/// says so the stream; the raw value is an index for counters, ``label`` their label.
public enum HTTP2Limit: UInt8, CaseIterable, Sendable {
  /// Streams that were reset, refused or malformed, in relation to finished ones and to time.
  case rapidReset
  /// CONTINUATION frames of one field block, or bytes of an unfinished one.
  case continuationFlood
  /// SETTINGS frames.
  case settingsFlood
  /// PING frames.
  case pingFlood
  /// DATA frames that carry nothing.
  case emptyFrames
  /// DATA frames that carry next to nothing.
  case tinyFrames
  /// WINDOW_UPDATE frames in relation to DATA frames sent.
  case windowUpdateFlood
  /// PRIORITY, PRIORITY_UPDATE and GOAWAY frames, those of unknown types, and those for streams that are gone.
  case idleFrames
  /// Fields of one message, in bytes.
  case headerListBytes
  /// Fields of one message.
  case fieldCount
  /// A field block that unpacks to many times what is accepted.
  case hpackBomb
  /// Answers to control frames that the peer does not read.
  case controlQueue
  /// A peer that opens no window of a stream which has something to send.
  case streamStall
  /// A peer that opens no window of a connection which has something to send, or takes nothing of what is sent.
  case connectionStall
  /// SETTINGS that are not acknowledged, or a connection preface that does not come.
  case settingsTimeout
  /// None at all is allowed: a stream in which a rule was broken (``HTTP2Fault``), most often by a malformed message.
  case streamFault

  /// Whether only the stream is ended.
  public var endsStreamOnly: Bool {
    switch self {
    case .headerListBytes, .fieldCount, .streamStall, .streamFault: true
    default: false
    }
  }

  /// Whether nobody exceeds it who means well and has a bad connection at the worst.
  public var isAbuse: Bool {
    switch self {
    case .connectionStall, .settingsTimeout: false
    default: !endsStreamOnly
    }
  }

  /// The name in metrics and configuration.
  public var label: StaticString {
    switch self {
    case .rapidReset: "rapid-reset"
    case .continuationFlood: "continuation-flood"
    case .settingsFlood: "settings-flood"
    case .pingFlood: "ping-flood"
    case .emptyFrames: "empty-frames"
    case .tinyFrames: "tiny-frames"
    case .windowUpdateFlood: "window-update-flood"
    case .idleFrames: "idle-frames"
    case .headerListBytes: "header-list-bytes"
    case .fieldCount: "field-count"
    case .hpackBomb: "hpack-bomb"
    case .controlQueue: "control-queue"
    case .streamStall: "stream-stall"
    case .connectionStall: "connection-stall"
    case .settingsTimeout: "settings-timeout"
    case .streamFault: "stream-fault"
    }
  }
}
