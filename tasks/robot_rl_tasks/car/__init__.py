"""Racing: courses, gates and lap times, the course of one slow lap, and a classical driver. No simulator, no device."""
