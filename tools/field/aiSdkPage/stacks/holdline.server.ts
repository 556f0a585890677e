import { holdline } from './holdline'
import { serve } from './serve'

serve(holdline)
