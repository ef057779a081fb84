import Core

/// What a connection knows of its server.
public struct RedisIdentity: Equatable, Sendable {
  /// Counts the times that this connection came up, from 1.
  public var epoch: UInt64 = 0
  /// Whether it is a primary.
  public var isPrimary = true
  /// The replication id, 40 hexadecimal digits: it changes when another server becomes the primary, and when one starts
  /// without its data. Empty where the server does not tell.
  public var replicationID = ""
  /// Major and minor version; 0 where the server does not tell.
  public var version = (major: 0, minor: 0)
  /// Whether it is a node of a Redis Cluster.
  public var isCluster = false
  /// How the library is called there.
  public var dialect = RedisDialect.functions

  /// Whether both say the same.
  public static func == (left: RedisIdentity, right: RedisIdentity) -> Bool {
    left.epoch == right.epoch && left.isPrimary == right.isPrimary && left.replicationID == right.replicationID
      && left.version == right.version && left.isCluster == right.isCluster && left.dialect == right.dialect
  }
}

/// Why there is no connection.
public enum RedisFault: Error, Equatable, Sendable {
  /// The connection could not be made.
  case connect(NetworkError)
  /// The host's name has no address, or nobody could say.
  case unknownHost
  /// Making the connection, or the first answers on it, took too long.
  case timedOut
  /// The server ended the connection.
  case closed
  /// The connection broke.
  case broken(NetworkError)
  /// The server has said nothing for too long although it was asked.
  case silent
  /// What it says is not Redis's protocol.
  case malformed
  /// It let nobody in, or would not do what is needed.
  case refused(RedisError)
  /// It is a replica.
  case notPrimary
  /// It still reads its data.
  case loading
  /// The encryption could not be agreed on, or the server's certificate is not good; with the reason.
  case encryption(String)
  /// The owner stopped it.
  case stopped
}

/// What a ``RedisLink`` has to say.
///
/// For every tag that was accepted there is exactly one of ``reply(tag:_:isLate:)`` in time, ``expired(tag:)`` and
/// ``lost(tag:mayHaveRun:)``. An expired one may be followed by its reply, late.
public enum RedisEvent: ~Copyable {
  /// Commands are accepted from now on.
  case up(RedisIdentity)
  /// A command was answered; a refusal is an answer too.
  case reply(tag: UInt64, RedisReply, isLate: Bool)
  /// A command's time is up. It may run, or have run.
  case expired(tag: UInt64)
  /// A command will not be answered. Where it cannot have run, it can be sent again elsewhere.
  case lost(tag: UInt64, mayHaveRun: Bool)
  /// Something was published: an array of `message`, the channel and the text. What is published while there is no
  /// connection is never heard.
  case message(RedisReply)
  /// A command's time is up and the server has said nothing since it was sent.
  case silent
  /// A silent server has said something.
  case responsive
  /// There is no connection, or an attempt to make one failed; another one follows by itself, except after a stop.
  case down(RedisFault)
  /// The owner must look this name up and call ``RedisLink/resolved(_:)``.
  case lookUp(host: String)
}

/// Whether a command was taken.
public enum RedisAdmission: Equatable, Sendable {
  /// It will be sent with the next ``RedisLink/flush()``, and an event will tell.
  case accepted
  /// A bound is reached; nothing happened.
  case full
  /// There is no connection; nothing happened.
  case down
}
