// Made once with PyJWT 2.15.1 over cryptography 50.0.2 (keys as jwcrypto 1.6.1 writes them), so that another
// implementation has signed: fresh keys, and
// `jwt.encode(claims, key, algorithm, headers={"kid": "made-…"}, sort_headers=True)`. Nobody uses them for anything else.

extension JOSEVector {
  /// One of each algorithm.
  static let made: [JOSEVector] = [
    JOSEVector(
      "RS256",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJSUzI1NiIsImtpZCI6Im1hZGUtUlMyNTYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.lDvU9QvjplqtExb1C41r57YAC6ceHnCtA\
        fiCe1AuXj-Bz5Z2rZqKWX9tGdmlr0ylgA2wAlMBP7FKdLQicxaxWwYb8XtI54nN5U16axoA0lejzEBNuj8RIbMbLg7Kp8gYTdgaz\
        cTGO52tDFa460CCU16qwlQvF80U_USAschVbaDBvji6kciVJxNGtQ7dy8m9rQRmnI6LzSKuWMogT-gCcD8MilNFD8sq97iV0VLR6\
        9-NdVnhxZXTjovPbmiMIWsNwABSvaV_Pg01iM-rCvGxFKyCzj1nE-doBK4qp4uYviaBtbPwIcpVBnJe5RyDlHNOjGTjZnbrJtAZR\
        qmkNJZdSA
        """),
    JOSEVector(
      "RS384",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJSUzM4NCIsImtpZCI6Im1hZGUtUlMzODQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.H-4O6IRf6znfrithq-TRPSv2p4tdZ1JAG\
        0bHJN725cu3Q4uqpX9XJkzTtY6kuRTABKwJZpn8LHex2gQiCWzW8D83FBFNlvsF44vOU6LqncY3JGv2mQBQ7qFpp9yH0ZfOsP0mR\
        rxd9IDA1oLr4uLGJ5NvbGXwCJfzm-tb_yzhPgeQH5VuKf7rg-rSp9GTOwgWQTJzQfRISyQWJJ7JK6S0TGVHYrVAAzGXhXCT0ImOt\
        zVbG7teuOt-zhazCIaZT9adUUEuLd7dbWuuSslhHbA8tR6_7k3b_X3gDMp9vDX9oPIHVoaouTMk7DKyXSX5obg8cR2mRRrq5ToLw\
        r97QDSb4A
        """),
    JOSEVector(
      "RS512",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJSUzUxMiIsImtpZCI6Im1hZGUtUlM1MTIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.eSHy4vXieUUqzCaMp9MZnYacDWYn4VYw6\
        d2q0suIOKq1uNHyA1C3gBP1O6iGP824rHIRxbL4y78NEBxYvrg9De2Xz6QdKaWtJ7_2NIWcEE741EcWU8SmVVPGvQL3KL5yE6cKv\
        V9stWOkMzvOTk94rBastjdjnn-9YBbmdP2xP1k4sCX2OC-31KGXU-mqB8fGji0inm9RSDpMtH-lz4Q4NFZ2GfrggJAdHq2iO8Vwd\
        r6FeJohvkiJlCC_iXpFloOj3WsNm9fWGMKG4xnlb-rGwxDN2GgUEoMf2JcJSHDvDaXsDBGtOv_xOOWehX9a1JAGtrzYRs9EywhD_\
        tGdVJR2Ag
        """),
    JOSEVector(
      "PS256",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJQUzI1NiIsImtpZCI6Im1hZGUtUFMyNTYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.PHau3ULNd6Oya9bYTY9oZuKuoz9UVfLrI\
        UqC4SP9rBAXAMPzeDIEmxJ6pu0A4desTbklm0NTQBQ2wdD6-mTvC0s4nb5pQL1xdu06pObPWVDPC1QWua1huPag3iDXf18y_-qh7\
        w4yCi2uU5h1Rbzojt18meJITthvOAuJL1GsPpWfB21RhhuamCux59Cw-9RRJbJh3SeoGFcIeYmUkygWrWgQP56Sz00T5GOdSPsy0\
        5Sx9HI2w_ahFZIKudoAYyF_YLdhpnBwYL2QbVBiNf2YPQhRFedPa5hDbf718S7qicRx_Rc-AAXfA43UWf56zLrZBkT-AU7SRjLKD\
        vSMhHMElw
        """),
    JOSEVector(
      "PS384",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJQUzM4NCIsImtpZCI6Im1hZGUtUFMzODQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.kTfqcVJHzl9mDtWMjT1vnXA2gcmjh2SO5\
        YhjwlHJk5j34K1GtcqDzxehmj587MXY6QBsDJlkILvHjTSpmiBdFLQhX1vtJl-oajIhLWx7AE1Al1PswfOH1yQrgofreb6V_oQrj\
        LZfVfaC4IIhxDmKGNV3cdjKA-fDT1c-_ClvGy8kjIeAUH6rwmt2p0aTvpc_Gnmk_OydDL4VXr1MpOsWK3vIvw88MyZY9Mi2RUxzh\
        RM-w_20XfruUkm-Ij35SbINedvkyf2buhTjHqimixlBVKMx08cyir1YcHO3qka6TVQ0M2jY4Daxue4dVuwIL6SlSb8OxGAVKIUpo\
        nrwC81MpA
        """),
    JOSEVector(
      "PS512",
      key: """
        {"kty":"RSA","n":"nTBJVZlsZPd1t6OG6pW6fdnP_HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjK\
        ouQaf7WgfaSs-h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXUY-lGFsrM74eaoLL0hdCNZvn3Eu2hdd_E5m\
        Trs4mFVT7VhW90hWWTgNG2u6GJVedr5UfyUB2mQhbeJ_IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8_oO_962s6k9Gnq7RbM\
        Tek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi4w","e":"AQAB","d":"FnwgbAeKTdcSwQtknTcrJM\
        gndu0v9iqWWopVv0tMaYdQvydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH_5Sp5RT4XOwx3Vz_L59yceQesG1-zbm1aRTzZhJ0D\
        iZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65LUYE69cUaLWvAJfxtPXLsXNf37p7-9YWDw7HDbtA98HHJBEzpE\
        4XHo7QkDhKd75dXuZErF9N3_ZBOMC7PcEwyb3G_N63i1muM5Ar5IJQ-HVoG63X-QDOpA_pLGYsIdg9xnxGYUyTFkWklBkDXNRPp0\
        WVRd51cm09pSjeraGqoQ","p":"2qiydnrzATQpMRf8qRTH9rlfCTUBE0LQD8VTBfE4sJ3ig8EK9rO5ZRqQw4uxlBxI3szK2_uJJ\
        4BztidCEcP0KdenPa8YsLb7wY1F3G3-lI5XRXJWdvAsEqBZU7E9ODzatBm6ipeF10W0GmeIYZG8HLxy7M50ASF388_0kvVP4_8",\
        "q":"uAg8ox6SBgFCU7kbj9argGf2Ku3NXsEZcvk7qv5hNqCQBoVg5x0CY-qqJPXJ3w25mk_J8T05__7hGUDabAJ_V2v4v0YVCNP\
        lO_za9VBqwuHj9yPitV65x7Fnm9o4FHrJ4jZU61rbBrqzs0jeHVWUq8nryJmTKmI3UMEVlXW-MR0","dp":"syffuWX5rzXOvlPa\
        B6toP8YYkRGlxONMWG-kG81OVp-2VZ-Y3RPaxnUiwaW2pRUbu7luSRnqgbwkks3Nu4KjjpkMhWTuxPPYiPi4kehp28xYwyTwpVkZ\
        s1VAe2tQLsDlrQUbq6yE1CJfc_b6bn8a8yyQuWha8gY7I0BzMuneQH8","dq":"mA6GO6lYsgl8Sj0aXuDa18AOkC3okLAwXOU9v\
        e1tWXuVRS4TgSJhBTmx19QWNmzavHvMub0DHVf1ma4SS0hM-2jFIRXA74hVUhl8uVD2xYtrlppaCc345tzYZNgLmjBSesy1oblyW\
        78MF8jPbaF2s_KlFRx_kneQiPLg6JteyKk","qi":"K8m7ChsyAFasIcZtkxC-2g2lgllzh_c7G_M80_UP9jMLoKQGCErmhvvoWo\
        82nGhtN2gOrb3XSI5LDllO0828fFOveyltqDN9U2jM5ZYk3IpmMXCl8lpMvqn0IgptFa6uPJpu11eEi1q_C9KHVF05TRM_FChBJR\
        HIwSjDEMKmmnc"}
        """,
      token: """
        eyJhbGciOiJQUzUxMiIsImtpZCI6Im1hZGUtUFM1MTIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.JjlKgeuKe14a-BqFKXuA7V0exL8pEB8bZ\
        Qfv9WUWB1lusOUo8ystp-C-xJ4iInhZEubYN__sXvmKcsA9GaD660UzUTyzRY6EuBtUN8MYeyscsYcIJ2c1Mmk2jyjNazOe7hYhZ\
        RyQVcIYJF2kAs6wZznYJ0-joKDAMcDm-Bjx6DShAYudyAcOtae-0LeHXBlod-a7KbpyKSqCHDW_fTwNlknF6yI9r9S9O_Bs1GQpg\
        DBQc_d1arG-eFShn7sq90c4BH-5FuYlZk_Mi7oJQPA6aPrng_EVfLshojIbE8_AXy0NHnzLT9-KMuOK5pSeVvNh0Pegjp1_IJk-h\
        DLQRw0fjQ
        """),
    JOSEVector(
      "ES256",
      key: """
        {"kty":"EC","crv":"P-256","x":"QrJp5pHxMqj9a7Qzo9yPbao6M19tG154Aw75SGn5abk","y":"fcphh_cR3EEabzqSX_8\
        SLL2C0oJcwPvzRR768tb4kSo","d":"zCwti-E2nmZAGxpa6FQMqHyy-w770uZPSPU1NyUIQls"}
        """,
      token: """
        eyJhbGciOiJFUzI1NiIsImtpZCI6Im1hZGUtRVMyNTYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.goHQWWSr9Kv7Xcdih73MHDLNXw-x8Ru0f\
        GAYgk1dpP4ps9i4PjWYc-Z0dVCk92SJibnOdqVjonXM76LB53PXMA
        """),
    JOSEVector(
      "ES384",
      key: """
        {"kty":"EC","crv":"P-384","x":"8J4UDot1FFfjCDjbPXD6uZfKpRCZezjfVp9GE-FxI8AqUZCnhvpW8hxNgLWFCo8g","y"\
        :"odzbelUKtoMPKk26ShhQoTNxwJKbQbn0N3HsN2JfoSJgxkmH5_vlv0CyF04L8WCn","d":"BASZAfJHKkbj4147Drmwfvy9KK3\
        C7W7pQFiiast0ena3HLc3cmmCtiNYv8SlVUz_"}
        """,
      token: """
        eyJhbGciOiJFUzM4NCIsImtpZCI6Im1hZGUtRVMzODQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.rEc3VB31pq1JP-wpyxxmbNieWpR3uebPS\
        k_vwmHXtr9zdG9wyQ8wIukvDNNn5RQZ5S1YoLkOedbG6Rz53t5iTJmjIgnpg34rAYu-vGmQOLl8ak5DhIetJxOVsZ69_Rx2
        """),
    JOSEVector(
      "ES512",
      key: """
        {"kty":"EC","crv":"P-521","x":"ACcWsTrIogXcwhmnP2377gnN8f5hj6qRhwm3j81kI1L0mAwz6sD0CMo_1ujICUq4RxLS4\
        M7DGGIi1WQy97KqnxXi","y":"ATDJ2IEIamjaG92u4uDhyQ2qUXnXOAvzgaYsrk9319fmMIS9ci_D5YBJha3SAgy0cpErgCJNFE\
        o1CdUyjwRUEvrH","d":"AIBcJ4dUE4tBZkl3i9H2IuGOEOG34d0qEJH7trAr2ZPHiR7eXCxIRbUitHRdPcm-shosdMyUj9sm39R\
        6HngSgMG4"}
        """,
      token: """
        eyJhbGciOiJFUzUxMiIsImtpZCI6Im1hZGUtRVM1MTIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.ANy1RJ9BIng4o9dPSxtcpPuKoNDDnUdEo\
        bFql82iBxKJ1LIaN7AbA2Cc6Hbhz2tJlf9axNajce7Jt5JB_8pgUJs5AK_CALIqw27yZlS4i4joMsjBJ3YunH-WJ1Weni20X_CYM\
        c-bPzib10ph9ae0nt-CXQnxzm6KRF-IFGqtYdOJpBpv
        """),
    JOSEVector(
      "EdDSA",
      key: """
        {"kty":"OKP","crv":"Ed25519","x":"Zet_7WwuW_1ibwuSO26VCqL18pRi8Mqi5gGOiy1a2uY","d":"6JMTz9GuaZgfq7bF\
        V7IAdxnAo24zPnvoki4qcUDEB_I"}
        """,
      token: """
        eyJhbGciOiJFZERTQSIsImtpZCI6Im1hZGUtRWREU0EiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.jna4zpxeq_jQkSRNa021AV-8TbgfxoCUM\
        RWx2eez9SjyAC4BwRclUzHs9RF9yJ78WZJIUMCvN_DIeD0NGZoVBA
        """),
    JOSEVector(
      "HS256",
      key: """
        {"kty":"oct","k":"y3V6sbVFSN1Fl0JxCyBSBrsmY4221QWMmMkkYcVkEpk"}
        """,
      token: """
        eyJhbGciOiJIUzI1NiIsImtpZCI6Im1hZGUtSFMyNTYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.kvrL5lqSVmqDoYhqhJ4GTv5bKaJuwxRXe\
        g_saT4EUgk
        """),
    JOSEVector(
      "HS384",
      key: """
        {"kty":"oct","k":"ZAHVpolYuq_hVOCeMN4ItgrSEBZbWQNDygl8BWiH5Dn2v0bHiUALHkvZOnvrf85O"}
        """,
      token: """
        eyJhbGciOiJIUzM4NCIsImtpZCI6Im1hZGUtSFMzODQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.XR9Xm5tSK_V7_v2IuPmuQxkpaik7sAsNE\
        gZ9SZaR8WPMEnJNpbzM2KA8oGD3RP48
        """),
    JOSEVector(
      "HS512",
      key: """
        {"kty":"oct","k":"tI1o8U2et1TZ4MqT_egzhQRr5r0N9cv4bBmgKkxuSiVKU-Sh6UzdEuJgU35BhBmapHzT7U-CvoALk8Q-pf\
        _FwQ"}
        """,
      token: """
        eyJhbGciOiJIUzUxMiIsImtpZCI6Im1hZGUtSFM1MTIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0I\
        iwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.onSIRdKRbcKQKS8XiWoD6OJIa1EYSohd8\
        2qRrae_Fxd7wJZAbjZKty9qfMcEi1_X6lYwK9O_BLIiGnbnCtk1lQ
        """),
    JOSEVector(
      "RS256",
      key: """
        {"kty":"RSA","n":"AbRuEHsX6Cj_NJRSMmZIg8XsnQwTr00thglDvjtIit0lPDFGyYReu_zJT55qT4KkKs-d3949T4nRuXdLpw\
        mDkpBuxTpwRXL2jBZRTrB2O6jVprVoemO3l-dpRYgaxdtkO-DG9RfxfhdIrTbdfo6cC7ucQnlzowaWuoEn0Q9wulyoq6-SEobnkO\
        2sQNZcR2lZBLTKXlFyR3OoCbhVrrf_EQ51aMq2XUbbLG-90r5wcfVU1vernyrClwclTRKgiOl9WX24kcYOrVuWNtE9FP8I7H9BMA\
        glD5Nun9r62faXGZcyw0krvAzOt8cEBsuxYU-NOiI8YWlqExCSXLpTcF4-mX8","e":"Aw","d":"ASL0Cvy6msX_eGLhdu7bAoP\
        zE11idN4eWVuCftIwXJNuKCDZ262UfVMw377xilcYHIppP-l-NQaL0Poyb1utDGBJ2NGgLkykXWQ2NHWkJ8XjxHjwUZfPuppGLlq\
        8g-eYJ-svTg_2VA-FyM8-VF8Ssn0S1vuibK8PJwDFNgpLJuhukRyizJ30g5MJl9mpnt7RLg8w58VDCHs0f_9p3ADCLjyNcauBK5T\
        LH7GvXIQgSiybnG3u0_Qs3_P5S0_xIvFiOTb1_KppYIyyQ_y1NC5fBUzy3nf47AMA9q5E2GQ_xw1PluJ4zeWCasO4JAEIDPXa9lv\
        baL3viZwSYEXP6rMvdps","p":"AfFlaRpve_HSOmUOmyn6m4Zg7o2nOf5Mbjh-1GUyE0qV9ikjjIN7BB_lAL0bPAlf_q3eytif4\
        Y2kdrCQJd_hK8jl7rPPASBcrgKJf68085gkA-WK42bhWJ91HPBSHZyBybAm4UEPDKPBnV1j8jXkrwDPLdPe3GGvWSNd-Cf5OE81"\
        ,"q":"4J80xSp82b7jeAFCryCDuT0SdQJTvG5rETpif4TIgR2rFSXoGGymXQA2Ct0D-VJsvnP6iJyduXS4q4qQ9J4-OsVY4vdvfC\
        vczkytl4SGzGfQ_MlMRq2UjmB2pQ4Z0oFxsM6VRiV-c9_Sc2YzF_oVx8lFcG2mYvcdqPOjaFg_GGM","dp":"AUuY8LxKUqE20Zi\
        0Z3FRvQRAnwkaJqmISXr_OEN2t4cOpBttCFenWBVDVdNnfVuVVHPp3JBqll5tpHW1bpVAx9tD9HffVhWTHqxbqnTN97rCrUOx7O9\
        A5b-jaKA2vmhWhnVvQNYKCG0rvj5CoXlDH1Xfc-KUkuvKO2zpUBqmJYoj","dq":"lb94g3GokSns-quByhWtJii2-Kw30vRHYNG\
        W_63bAL5yDhlFZZ3EPgAkBz4CpjbzKaKnBb2-e6Mlx7G1-Gl-0djl7KT0_XKTNDMeZQMEiEU1_duILx5jCZWkbglmjFZLyzRjhBj\
        -9-qMTO7Muqa5L9uDoEkZl09pG00XmuV_ZZc","qi":"xXZ_L4lmhDMeOh_Km1kSu5RNAIR1gp1_42YRuSj-8as39d6783dvGP_W\
        52g5-R1A79LbckmQ_VXFPq__mfi0ce6T1rz1Sx7i_BrwZN1ZdGil4dRY4o38MsHs0s1IWJQ_qng71AM-Xpb8coyueiPlgcjWZJ8V\
        wY43zZO01H3XLOM"}
        """,
      token: """
        eyJhbGciOiJSUzI1NiIsImtpZCI6Im1hZGUtUlMyNTYtMjA0OSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5\
        0ZXN0Iiwic3ViIjoiYWxpY2UiLCJhdWQiOlsib3JkZXJzIl0sImV4cCI6NDEwMjQ0NDgwMH0.AFA-BLx9ZZGfkhHhgut6LQBbwPc\
        dBxRCb3gHbOEzpMBDLQG_DCbRtp8lJlZL_JAuZ1w0Af03I6bAxVhkVWXX-T-_iD3D-SpvjX52gVuAY0aEvksz5_YrzjT4G8gbiz6\
        4ma4UkPulYjT4TxgtL8Q-mSfWxY_0U8e3ji9Nm9fvczCxiecVYV_exdugl8NAY0GGVbgs_3N5oPhV0hN6HSwxJ6kpjLsxSgOI-Ir\
        WX_S_-aPpnvFWwuIbJG--qiVTWq4NBIujEp8rvq2CG2L7OFxGDtDOjugWT9Y1jh0R9maSbAu-vfSZmfF6SYtLG2mTWRVzsu0Ie_X\
        nwPNdASEZknG2dCI
        """),
  ]

  /// The public key of those with RS256.
  static let publicPEM = """
    -----BEGIN PUBLIC KEY-----
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnTBJVZlsZPd1t6OG6pW6
    fdnP/HxrbcYDRXP5avcbnxrlfOxkUpnAbkY3kyjMZN4VB5DqNnmtxRMYL5xMjKou
    Qaf7WgfaSs+h1JgLlflcujBM0HjwETL6MMF3sbYMkrPH8XzbgT1VU9395d6h3gXU
    Y+lGFsrM74eaoLL0hdCNZvn3Eu2hdd/E5mTrs4mFVT7VhW90hWWTgNG2u6GJVedr
    5UfyUB2mQhbeJ/IHBw7gEWH4lPGG1xK8SSgO17BjqgbRMRbjJHL8/oO/962s6k9G
    nq7RbMTek86mWW7dT8zqxkDsD3OvaJwwnwc2V9JKoeip0dh6qWnSqUwEAQiD1vKi
    4wIDAQAB
    -----END PUBLIC KEY-----
    """

  /// The private key of the same.
  static let privatePEM = """
    -----BEGIN PRIVATE KEY-----
    MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCdMElVmWxk93W3
    o4bqlbp92c/8fGttxgNFc/lq9xufGuV87GRSmcBuRjeTKMxk3hUHkOo2ea3FExgv
    nEyMqi5Bp/taB9pKz6HUmAuV+Vy6MEzQePARMvowwXextgySs8fxfNuBPVVT3f3l
    3qHeBdRj6UYWyszvh5qgsvSF0I1m+fcS7aF138TmZOuziYVVPtWFb3SFZZOA0ba7
    oYlV52vlR/JQHaZCFt4n8gcHDuARYfiU8YbXErxJKA7XsGOqBtExFuMkcvz+g7/3
    razqT0aertFsxN6TzqZZbt1PzOrGQOwPc69onDCfBzZX0kqh6KnR2HqpadKpTAQB
    CIPW8qLjAgMBAAECggEAFnwgbAeKTdcSwQtknTcrJMgndu0v9iqWWopVv0tMaYdQ
    vydBd99ZJhe9PhEJS9RzcFBLxdxvUvrW7C3mH/5Sp5RT4XOwx3Vz/L59yceQesG1
    +zbm1aRTzZhJ0DiZC9MpDWOC3WCHTXvlJHX4SZN5POF9jn0WsPIrgu6WXnM6sY65
    LUYE69cUaLWvAJfxtPXLsXNf37p7+9YWDw7HDbtA98HHJBEzpE4XHo7QkDhKd75d
    XuZErF9N3/ZBOMC7PcEwyb3G/N63i1muM5Ar5IJQ+HVoG63X+QDOpA/pLGYsIdg9
    xnxGYUyTFkWklBkDXNRPp0WVRd51cm09pSjeraGqoQKBgQDaqLJ2evMBNCkxF/yp
    FMf2uV8JNQETQtAPxVMF8TiwneKDwQr2s7llGpDDi7GUHEjezMrb+4kngHO2J0IR
    w/Qp16c9rxiwtvvBjUXcbf6UjldFclZ28CwSoFlTsT04PNq0GbqKl4XXRbQaZ4hh
    kbwcvHLsznQBIXfzz/SS9U/j/wKBgQC4CDyjHpIGAUJTuRuP1quAZ/Yq7c1ewRly
    +Tuq/mE2oJAGhWDnHQJj6qok9cnfDbmaT8nxPTn//uEZQNpsAn9Xa/i/RhUI0+U7
    /Nr1UGrC4eP3I+K1XrnHsWeb2jgUesniNlTrWtsGurOzSN4dVZSryevImZMqYjdQ
    wRWVdb4xHQKBgQCzJ9+5ZfmvNc6+U9oHq2g/xhiREaXE40xYb6QbzU5Wn7ZVn5jd
    E9rGdSLBpbalFRu7uW5JGeqBvCSSzc27gqOOmQyFZO7E89iI+LiR6GnbzFjDJPCl
    WRmzVUB7a1AuwOWtBRurrITUIl9z9vpufxrzLJC5aFryBjsjQHMy6d5AfwKBgQCY
    DoY7qViyCXxKPRpe4NrXwA6QLeiQsDBc5T297W1Ze5VFLhOBImEFObHX1BY2bNq8
    e8y5vQMdV/WZrhJLSEz7aMUhFcDviFVSGXy5UPbFi2uWmloJzfjm3Nhk2AuaMFJ6
    zLWhuXJbvwwXyM9toXaz8qUVHH+Sd5CI8uDom17IqQKBgCvJuwobMgBWrCHGbZMQ
    vtoNpYJZc4f3OxvzPNP1D/YzC6CkBghK5ob76FqPNpxobTdoDq2910iOSw5ZTtPN
    vHxTr3spbagzfVNozOWWJNyKZjFwpfJaTL6p9CIKbRWurjyabtdXhItavwvSh1Rd
    OU0TPxQoQSURyMEowxDCppp3
    -----END PRIVATE KEY-----
    """

  /// An RSA key of 1024 bits.
  static let shortPEM = """
    -----BEGIN PUBLIC KEY-----
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDsQq4Hdhaayr0SPi9lUC4AbAmd
    c/NyMmPV9D3WmUTq/UMqGhi12ae9NxwIcNQL72gn/w+7MraM+D+hhTJneP8waIi0
    erH4jqBf0zXwWZDk5nwVAVyIgqa+0/OItlLYOX5298n7IX4Iz9NVuuKwQCRLtbgC
    AWyA3kclT/0FUUBZvQIDAQAB
    -----END PUBLIC KEY-----
    """

  /// On secp256k1, which tokens of this house do not use.
  static let otherCurvePEM = """
    -----BEGIN PUBLIC KEY-----
    MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEUmOOcSG/XGty3iwzeruF17EDI5wGxn9s
    c1f7h3ctItqFWTamt2KzUdSAn8+ZBdcRG+PN5B9F/qMjZa8T/ke8wQ==
    -----END PUBLIC KEY-----
    """

  /// For the key of those with ES256; it ended in 2020.
  static let certificatePEM = """
    -----BEGIN CERTIFICATE-----
    MIIBGDCBv6ADAgECAgEBMAoGCCqGSM49BAMCMBYxFDASBgNVBAMMC2lzc3Vlci50
    ZXN0MB4XDTIwMDEwMTAwMDAwMFoXDTIwMDEwMjAwMDAwMFowFjEUMBIGA1UEAwwL
    aXNzdWVyLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARCsmnmkfEyqP1r
    tDOj3I9tqjozX20bXngDDvlIaflpuX3KYYf3EdxBGm86kl//Eiy9gtKCXMD780Ue
    +vLW+JEqMAoGCCqGSM49BAMCA0gAMEUCIQDBR/oppn3zl5eUaZ6t8m0DiD6lENvx
    m+0FpJ1sUmRg+AIgQlVAXp4q6pogkw2HldM0MFjB3yM57L2S31brWgk8huo=
    -----END CERTIFICATE-----
    """
}
