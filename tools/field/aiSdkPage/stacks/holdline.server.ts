import { serve } from '../serve'
import { holdline } from './holdline'

serve(holdline)
