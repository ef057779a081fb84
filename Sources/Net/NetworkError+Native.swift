import Core
import Glibc

extension NetworkError {
  /// The meaning of Linux's error number.
  init(code: Int32) {
    switch code {
    case ECONNREFUSED, ENOENT: self = .refused
    case ECONNRESET, EPIPE, ENOTCONN, ECONNABORTED: self = .reset
    case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL: self = .unreachable
    case ETIMEDOUT: self = .timedOut
    case EADDRINUSE: self = .addressInUse
    case EACCES, EPERM: self = .notPermitted
    case EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC: self = .exhausted
    default: self = .system(code: code)
    }
  }
}
