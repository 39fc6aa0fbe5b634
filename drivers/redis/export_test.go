// SPDX-License-Identifier: Apache-2.0

package redis

// Kill ends the connections of s as the death of its process would.
func Kill(s *Store) {
	s.stopOnce.Do(s.stop)
	s.connector.mu.Lock()
	defer s.connector.mu.Unlock()
	s.connector.closed = true
	if session := s.connector.current; session != nil {
		s.connector.current = nil
		session.client.Close()
	}
}

// LetCalls sets how many calls may be under way at once, before the first.
func LetCalls(s *Store, most int) { s.calls = make(turns, most) }
